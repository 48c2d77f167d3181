/** What the size of a store costs: opening it, collecting and checking it, making a snapshot in it. */
import { openStore } from 'layerfs';
import { openArea, type Area } from '../area.js';
import { compare, median, oneFigure, type Figure, type Subject } from '../harness.js';
import { testImage } from '../image.js';
import { LAYERFS, dropCaches, run, time, timeScript } from '../programs.js';
import { turn } from '../release.js';
import { FILES_PER_LAYER, LAYERS_PER_IMAGE, importManyImages } from './many-images.js';

const SNAPSHOTS = 100;
/** Inodes that the store has beside its objects: four or so a layer, and some an image. */
const INODES_PER_LAYER = 5;

const OPEN_SCRIPT = `
const { openStore } = await import(process.argv[1]);
const started = performance.now();
const store = await openStore({ root: process.argv[2] });
const took = performance.now() - started;
await store.close();
console.log(took);`;

interface Store {
  readonly name: string;
  readonly root: string;
  readonly objects: number;
}

/** Figures of a store of very many layers and objects, beside a store of one image. */
export async function benchLargeStore(quick: boolean): Promise<Figure[]> {
  const images = quick ? 20 : 1000;
  const rounds = quick ? 3 : 7;
  const area = openArea(quick ? 2 : 24);
  try {
    checkInodes(area, images);
    const figures: Figure[] = [];
    const small = await makeStore(area, 1);
    const started = performance.now();
    const large = await makeStore(area, images);
    const seconds = (performance.now() - started) / 1000;
    figures.push(oneFigure('making the store, layouts included', large.name, 'objects/s', large.objects / seconds));
    const stores = [small, large];
    const each = (action: (store: Store) => number): Subject[] =>
      stores.map((store) => ({ name: store.name, run: () => action(store) }));
    const openOne = ({ root }: Store): number => timeScript(OPEN_SCRIPT, import.meta.resolve('layerfs'), root);
    figures.push(...(await compare('openStore in a new process', each(openOne), rounds)));
    if (process.geteuid?.() === 0) {
      const cold = (store: Store): number => {
        dropCaches();
        return openOne(store);
      };
      figures.push(...(await compare('openStore in a new process, cold', each(cold), Math.min(rounds, 3))));
    }
    const command = (words: string) => each(({ root }) => time(`${LAYERFS} --root ${root} ${words} > /dev/null`));
    const version = { name: 'layerfs --version', run: () => time(`${LAYERFS} --version > /dev/null`) };
    figures.push(...(await compare('layerfs images', [...command('images'), version], rounds)));
    for (const store of stores) figures.push(...(await benchSnapshots(store)));
    const passes = quick ? 1 : 2;
    figures.push(...withRate(await compare('layerfs gc --dry-run', command('gc --dry-run'), passes), large));
    await turn();
    figures.push(...benchFsck(large, area, quick));
    // Last: it changes the store.
    figures.push(
      oneFigure(
        'layerfs rmi of one image',
        large.name,
        'ms',
        time(`${LAYERFS} --root ${large.root} rmi app-1 > /dev/null`),
      ),
    );
    return figures;
  } finally {
    area.release();
  }
}

function checkInodes(area: Area, images: number): void {
  const free = Number(run('df', '--output=iavail', area.folder).split('\n')[1]);
  const needed = images * LAYERS_PER_IMAGE * (FILES_PER_LAYER + INODES_PER_LAYER);
  // Some filesystems have no fixed number, and say 0.
  if (free > 0 && free < needed) throw new Error(`${area.folder} has ${free} free inodes: the store needs ${needed}`);
}

async function makeStore(area: Area, images: number): Promise<Store> {
  const root = area.make('store');
  await importManyImages(root, area.make('layouts'), images, (done) => {
    if (done % 100 === 0) console.log(`${done} of ${images} images imported`);
  });
  const layers = images * LAYERS_PER_IMAGE;
  const objects = layers * FILES_PER_LAYER;
  const count = (value: number): string => value.toLocaleString('en-US');
  return { name: `layerfs, ${count(layers)} layers, ${count(objects)} objects`, root, objects };
}

/** Adds how many objects a second that was. */
function withRate(figures: readonly Figure[], { name, objects }: Store): Figure[] {
  const took = figures.find(({ subject }) => subject === name)?.median ?? Number.NaN;
  const [{ benchmark }] = figures;
  return [...figures, oneFigure(`${benchmark}, throughput`, name, 'objects/s', (objects / took) * 1000)];
}

/** In this process: what a runtime waits for. */
async function benchSnapshots({ name, root }: Store): Promise<Figure[]> {
  await using store = await openStore({ root });
  const times: number[] = [];
  // What was written before is not what a snapshot waits for.
  run('sync');
  // The first one maps the tree and notes that the image was used.
  await store.createSnapshot('app-0', { name: 'first' });
  for (let i = 0; i < SNAPSHOTS; i++) {
    const started = performance.now();
    await store.createSnapshot('app-0', { name: `bench-${i}` });
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  const [minimum, maximum] = [times[0], times[times.length - 1]];
  const benchmark = 'make a snapshot';
  return [
    { benchmark, subject: name, unit: 'ms', median: median(times), minimum, maximum, rounds: SNAPSHOTS },
    oneFigure(`${benchmark}, 99th percentile of ${SNAPSHOTS}`, name, 'ms', times[Math.ceil(SNAPSHOTS * 0.99) - 1]),
  ];
}

/** Also of a real image: there it is bytes that count. */
function benchFsck(large: Store, area: Area, quick: boolean): Figure[] {
  if (!run(LAYERFS, '--help').includes('fsck')) {
    console.log('left out: this layerfs has no fsck');
    return [];
  }
  const image = quick ? 'mini' : 'debian';
  const real = area.make('store');
  run(LAYERFS, '--root', real, 'import', testImage(image), '--name', image, '-q');
  const figures: Figure[] = [];
  for (const { name, root } of [large, { name: `layerfs, test image ${image}`, root: real }]) {
    const started = performance.now();
    const { checked } = JSON.parse(run(LAYERFS, '--root', root, 'fsck', '--afresh', '--json')) as {
      checked: { objects: number; bytes: number };
    };
    const seconds = (performance.now() - started) / 1000;
    figures.push(
      oneFigure('layerfs fsck', name, 'ms', seconds * 1000),
      oneFigure('layerfs fsck, objects', name, 'objects/s', checked.objects / seconds),
      oneFigure('layerfs fsck, bytes read', name, 'MB/s', checked.bytes / seconds / 1e6),
    );
  }
  return figures;
}
