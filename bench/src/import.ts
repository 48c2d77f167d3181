import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openArea } from './area.js';
import { startContainerd } from './containerd.js';
import { compare, oneFigure, type Figure, type Subject } from './harness.js';
import { layerBlobs, testImage } from './image.js';
import { LAYERFS, has, missing, peakMemory, run, time } from './programs.js';

/** Import of a Debian image into a new store, against unpacking it with the peers; then the memory it takes. */
export async function benchImport(quick: boolean): Promise<Figure[]> {
  const image = quick ? 'mini' : 'debian';
  const area = openArea(quick ? 4 : 30);
  const { layout, archive } = baseLayer(testImage(image, 'multi'), area.make('source'));
  const blobs = layerBlobs(layout);
  const containerd =
    has('ctr') && process.geteuid?.() === 0 ? await startContainerd(area.make('containerd')) : undefined;
  try {
    const subjects: Subject[] = [
      {
        name: 'layerfs import',
        run: () => timed(`${LAYERFS} --root ${area.make('store')} import ${layout} --name bench -q`),
      },
      {
        name: 'gzip -dc | tar x',
        run: () => {
          const target = area.make('tar');
          return timed(blobs.map((blob) => `gzip -dc ${blob} | tar x -C ${target}`).join(' && '));
        },
      },
    ];
    subjects.push({
      name: 'the same, then sync',
      // An import is on disk when it ends.
      run: () => {
        const target = area.make('tar');
        return timed(
          `${blobs.map((blob) => `gzip -dc ${blob} | tar x -C ${target}`).join(' && ')} && sync -f ${target}`,
        );
      },
    });
    if (has('umoci')) {
      const rootless = process.geteuid?.() === 0 ? '' : '--rootless ';
      subjects.push({
        name: 'umoci unpack',
        run: () => timed(`umoci unpack ${rootless}--image ${layout}:latest ${area.make('umoci')}/bundle`),
      });
    } else console.log(missing('umoci'));
    if (containerd !== undefined) {
      let round = 0;
      subjects.push({
        name: 'ctr image import',
        // A namespace of its own has no content and no snapshots yet.
        run: () => timed(`ctr -a ${containerd.socket} -n round${round++} image import --base-name bench ${archive}`),
      });
    } else console.log(missing('ctr'));
    const figures = await compare(`import ${image}`, subjects, quick ? 2 : 5);
    const largest = quick ? image : 'bigfile';
    const peak = await peakMemory(
      process.execPath,
      join(LAYERFS, '../../@layerfs/cli/bin/layerfs.js'),
      '--root',
      area.make('big'),
      'import',
      testImage(largest),
      '--name',
      'big',
      '-q',
    );
    figures.push(oneFigure(`memory of import ${largest}`, 'layerfs import', 'MB', peak));
    return figures;
  } finally {
    await containerd?.stop();
    area.release();
  }
}

/** What the one before left to write out must not be paid by the next: an import ends with a sync. */
function timed(command: string): number {
  run('sync');
  return time(command);
}

/**
 * The image's base layer as a layout and an archive of its own: a plain root filesystem. The layers above hold entries
 * that not every peer can unpack.
 */
function baseLayer(multi: string, folder: string): { layout: string; archive: string } {
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
