import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { layerBlobs, testImage } from '../data/images.js';
import { inArea, type Bench, type Benchmark, type Subject } from '../harness/bench.js';
import type { Area } from '../harness/area.js';
import { LAYERFS, peakMemory, run, time } from '../harness/programs.js';
import { startContainerd } from '../peers/containerd.js';
import { openStorage } from '../peers/podman.js';

/** Import of a Debian image into a new store, against unpacking it with the peers; then the memory it takes. */
export const importing: Benchmark = {
  name: 'import',
  about: "a Debian base layer into a new store, against the peers' unpacking; memory of the largest import",
  needsRoot: false,
  run: (bench) =>
    inArea(bench, bench.quick ? 4 : 30, async (area) => {
      const image = bench.quick ? 'mini' : 'debian';
      const { layout, archive } = baseLayer(testImage(image, 'multi'), area.make('source'));
      const subjects = [...plainSubjects(area, layout), ...umociSubject(bench, area, layout)];
      const root = process.geteuid?.() === 0;
      if (root && bench.has('podman')) {
        subjects.push({
          name: 'podman load',
          kind: 'peer',
          run() {
            // A storage of its own has no layers yet.
            const storage = openStorage(area.make('podman'));
            try {
              return timed(`${storage.environment} podman load -q -i ${archive} > /dev/null`);
            } finally {
              storage.close();
            }
          },
        });
      }
      const containerd =
        root && bench.has('containerd') && bench.has('ctr')
          ? await startContainerd(area.make('containerd'))
          : undefined;
      try {
        if (containerd !== undefined) {
          let round = 0;
          subjects.push({
            name: 'ctr image import',
            kind: 'peer',
            // A namespace of its own has no content and no snapshots yet.
            run: () =>
              timed(`ctr -a ${containerd.socket} -n round${round++} image import --base-name bench ${archive}`),
          });
        }
        await bench.compare(`import ${image}`, subjects, { rounds: bench.rounds(5) });
      } finally {
        await containerd?.stop();
      }
      await memory(bench, area, bench.quick ? image : 'bigfile');
    }),
};

function plainSubjects(area: Area, layout: string): Subject[] {
  const untar = (target: string): string =>
    layerBlobs(layout)
      .map((blob) => `gzip -dc ${blob} | tar x -C ${target}`)
      .join(' && ');
  return [
    {
      name: 'layerfs import',
      kind: 'ours',
      run: () => timed(`${LAYERFS} --root ${area.make('store')} import ${layout} --name bench -q`),
    },
    {
      name: 'gzip -dc | tar x, and sync',
      kind: 'limit',
      // An import is on disk when it ends.
      run() {
        const target = area.make('tar');
        return timed(`${untar(target)} && sync -f ${target}`);
      },
    },
  ];
}

function umociSubject(bench: Bench, area: Area, layout: string): Subject[] {
  if (!bench.has('umoci')) return [];
  const rootless = process.geteuid?.() === 0 ? '' : '--rootless ';
  return [
    {
      name: 'umoci unpack',
      kind: 'peer',
      run: () => timed(`umoci unpack ${rootless}--image ${layout}:latest ${area.make('umoci')}/bundle`),
    },
  ];
}

/** What the one before left to write out must not be paid by the next: an import ends with a sync. */
function timed(command: string): number {
  run('sync');
  return time(command);
}

async function memory(bench: Bench, area: Area, image: string): Promise<void> {
  const program = join(LAYERFS, '../../@layerfs/cli/bin/layerfs.js');
  const words = [program, '--root', area.make('big'), 'import', testImage(image), '--name', 'big', '-q'];
  const peak = await peakMemory(process.execPath, ...words);
  bench.once(`memory of import ${image}`, 'layerfs import', 'ours', 'MB', peak);
}

/**
 * The image's base layer as a layout and an archive of its own: a plain root filesystem. The layers above hold entries
 * that not every peer can unpack.
 */
export function baseLayer(multi: string, folder: string): { layout: string; archive: string } {
  const layout = join(folder, 'layout');
  cpSync(multi, layout, { recursive: true });
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    manifests: { annotations?: Record<string, string> }[];
  };
  const key = 'org.opencontainers.image.ref.name';
  index.manifests = index.manifests.filter((manifest) => manifest.annotations?.[key] === 'base');
  for (const manifest of index.manifests) manifest.annotations = { [key]: 'latest' };
  writeFileSync(join(layout, 'index.json'), JSON.stringify(index));
  const archive = join(folder, 'archive.tar');
  run('tar', '-C', layout, '-cf', archive, '.');
  return { layout, archive };
}
