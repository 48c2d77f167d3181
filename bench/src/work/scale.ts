/** What the size of a store costs: opening it, collecting and checking it, making a snapshot in it. */
import { openStore } from 'layerfs';
import { testImage } from '../data/images.js';
import { FILES_PER_LAYER, LAYERS_PER_IMAGE, importManyImages } from '../data/many-images.js';
import type { Area } from '../harness/area.js';
import { inArea, type Bench, type Benchmark, type Subject } from '../harness/bench.js';
import { LAYERFS, dropCaches, run, time, timeScript } from '../harness/programs.js';
import { turn } from '../harness/release.js';

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

/** A store of very many layers and objects, beside a store of one image. */
export const scale: Benchmark = {
  name: 'scale',
  about: 'a store of very many layers and objects beside a small one: open, images, snapshot, gc, fsck, rmi',
  needsRoot: false,
  run: (bench) =>
    inArea(bench, bench.quick ? 2 : 24, async (area) => {
      const images = bench.quick ? 20 : bench.full ? 1000 : 50;
      const rounds = bench.rounds(7, 3);
      checkInodes(area, images);
      const small = await makeStore(bench, area, 1);
      const started = performance.now();
      const large = await makeStore(bench, area, images);
      const seconds = (performance.now() - started) / 1000;
      bench.once('making the store, layouts included', large.name, 'ours', 'objects/s', large.objects / seconds);
      const stores = [small, large];
      const each = (action: (store: Store) => number): Subject[] =>
        stores.map((store) => ({ name: store.name, kind: 'ours', run: () => action(store) }));
      const openOne = ({ root }: Store): number => timeScript(OPEN_SCRIPT, import.meta.resolve('layerfs'), root);
      await bench.compare('openStore in a new process', each(openOne), { rounds });
      if (process.geteuid?.() === 0) {
        const cold = (store: Store): number => {
          dropCaches();
          return openOne(store);
        };
        await bench.compare('openStore in a new process, cold', each(cold), { rounds: bench.rounds(3) });
      }
      const command = (words: string): Subject[] =>
        each(({ root }) => time(`${LAYERFS} --root ${root} ${words} > /dev/null`));
      const version: Subject = {
        name: 'layerfs --version',
        kind: 'limit',
        run: () => time(`${LAYERFS} --version > /dev/null`),
      };
      const listing = [...command('images'), version];
      // Caches were dropped, and a million files may still be on their way to the disk.
      run('sync');
      for (const subject of listing) await subject.run();
      await bench.compare('layerfs images', listing, { rounds });
      for (const store of stores) await snapshots(bench, store);
      await bench.compare('layerfs gc --dry-run', command('gc --dry-run'), { rounds: bench.quick ? 1 : 2 });
      await turn();
      fsck(bench, large, area);
      // Last: it changes the store.
      const took = time(`${LAYERFS} --root ${large.root} rmi app-1 > /dev/null`);
      bench.once('layerfs rmi of one image', large.name, 'ours', 'ms', took);
    }),
};

function checkInodes(area: Area, images: number): void {
  const free = Number(run('df', '--output=iavail', area.folder).split('\n')[1]);
  const needed = images * LAYERS_PER_IMAGE * (FILES_PER_LAYER + INODES_PER_LAYER);
  // Some filesystems have no fixed number, and say 0.
  if (free > 0 && free < needed) throw new Error(`${area.folder} has ${free} free inodes: the store needs ${needed}`);
}

async function makeStore(bench: Bench, area: Area, images: number): Promise<Store> {
  const root = area.make('store');
  await importManyImages(root, area.make('layouts'), images, (done) => {
    if (done % 100 === 0) bench.say(`${done} of ${images} images imported`);
  });
  const layers = images * LAYERS_PER_IMAGE;
  const objects = layers * FILES_PER_LAYER;
  const count = (value: number): string => value.toLocaleString('en-US');
  return { name: `layerfs, ${count(layers)} layers, ${count(objects)} objects`, root, objects };
}

/** In this process: what a runtime waits for. */
async function snapshots(bench: Bench, { name, root }: Store): Promise<void> {
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
  const title = `make a snapshot, each of ${SNAPSHOTS}`;
  bench.add(title, { subject: name, kind: 'ours', unit: 'ms', values: times });
  const sorted = times.toSorted((a, b) => a - b);
  const worst = sorted[Math.ceil(SNAPSHOTS * 0.99) - 1];
  bench.once(`${title}, 99th percentile`, name, 'ours', 'ms', worst);
}

/** Also of a real image: there it is bytes that count. */
function fsck(bench: Bench, large: Store, area: Area): void {
  const image = bench.quick ? 'mini' : 'debian';
  const real = area.make('store');
  run(LAYERFS, '--root', real, 'import', testImage(image), '--name', image, '-q');
  for (const { name, root } of [large, { name: `layerfs, test image ${image}`, root: real }]) {
    const started = performance.now();
    const { checked } = JSON.parse(run(LAYERFS, '--root', root, 'fsck', '--afresh', '--json')) as {
      checked: { objects: number; bytes: number };
    };
    const seconds = (performance.now() - started) / 1000;
    bench.once('layerfs fsck', name, 'ours', 'ms', seconds * 1000);
    bench.once('layerfs fsck, objects', name, 'ours', 'objects/s', checked.objects / seconds);
    bench.once('layerfs fsck, bytes read', name, 'ours', 'MB/s', checked.bytes / seconds / 1e6);
  }
}
