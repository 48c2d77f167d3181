/** Whether the kernel is to read objects itself: what registering backing files costs, and what it saves. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeSynthetic, type Synthetic } from '../data/synthetic.js';
import type { Area } from '../harness/area.js';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { time, timeScript } from '../harness/programs.js';
import { layerfs, layerfsWith } from '../peers/layerfs.js';
import { whileMounted } from '../peers/peer.js';
import { READERS_SCRIPT } from './scripts.js';

const WAYS = [layerfs, layerfsWith('--passthrough'), layerfsWith('--no-passthrough')];

/** Our FUSE mount as it chooses, with passthrough for all files, and without. */
export const passthrough: Benchmark = {
  name: 'passthrough',
  about: 'small files and a large one, read by the kernel itself (passthrough) and through our server',
  needsRoot: true,
  run: (bench) =>
    inArea(bench, 4, async (area) => {
      const [folders, megabytes] = bench.quick ? [2, 8] : [50, 256];
      const small = makeSynthetic(area.make('small'), { layers: 3, folders, files: 100, bytes: 4096 }, 0);
      const paths = Array.from({ length: folders * 100 }, (_, i) => pathOf(i));
      const list = join(area.folder, 'paths');
      writeFileSync(list, paths.join('\n'));
      const files = `${paths.length.toLocaleString('en-US')} files of 4 KiB opened, read and closed`;
      const read = (root: string): number => (paths.length / timeScript(READERS_SCRIPT, root, list, '1')) * 1000;
      await measure(bench, area, small, files, read);
      const large = makeSynthetic(area.make('large'), { layers: 1, folders: 1, files: 1, bytes: megabytes << 20 }, 1);
      const cat = (root: string): number => time(`cat '${root}/${large.paths[0]}' > /dev/null`);
      // The object is in memory, so that disks are left out of it.
      cat(large.stack.plain ?? '');
      await measure(bench, area, large, `a file of ${megabytes} MiB read`, cat);
    }),
};

function pathOf(i: number): string {
  return `folder-${Math.floor(i / 100)}/file-${String(i % 100).padStart(7, '0')}`;
}

/** Twice in each round, on a mount of its own. */
async function measure(
  bench: Bench,
  area: Area,
  { stack }: Synthetic,
  what: string,
  read: (root: string) => number,
): Promise<void> {
  const mountpoint = area.make('mnt');
  const subjects = WAYS.map((peer) => ({
    name: peer.name,
    kind: peer.kind,
    run: (keep: (value: number) => void): void =>
      whileMounted(peer, stack, mountpoint, () => {
        keep(read(mountpoint));
        keep(read(mountpoint));
      }),
  }));
  await bench.compareSeries([`${what}, first`, `${what}, again`], subjects, { rounds: bench.rounds(5) });
}
