import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeSynthetic, type Synthetic } from '../data/synthetic.js';
import { inArea, type Bench, type Benchmark, type Subject } from '../harness/bench.js';
import { timeScript } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';
import { mountPeers } from '../peers/peers.js';
import { READERS_SCRIPT } from './scripts.js';

const SHAPES = {
  small: { layers: 3, folders: 50, files: 100, bytes: 4096 },
  quick: { layers: 3, folders: 2, files: 100, bytes: 4096 },
};

/** The hot path of programs: files that are small and many, and in the caches. */
export const files: Benchmark = {
  name: 'files',
  about: 'many small cached files: opened, read and closed by 1 and by 16 readers; all readers in one large file',
  needsRoot: true,
  run: (bench) =>
    inArea(bench, bench.quick ? 4 : 8, async (area) => {
      const shape = bench.quick ? SHAPES.quick : SHAPES.small;
      const many = makeSynthetic(area.make('many'), shape, shape.folders * shape.files);
      const megabytes = bench.quick ? 4 : 64;
      const large = makeSynthetic(area.make('large'), { layers: 1, folders: 1, files: 1, bytes: megabytes << 20 }, 1);
      await onEach(bench, area.make('mnt'), many, async (subjects) => {
        const list = join(area.folder, 'many.list');
        writeFileSync(list, many.paths.join('\n'));
        for (const readers of [1, 16]) {
          const title = `${many.paths.length.toLocaleString('en-US')} files of 4 KiB, cached, ${readers} reader${readers > 1 ? 's' : ''}`;
          await bench.compare(title, read(subjects, list, readers), { rounds: bench.rounds(3), unit: 'files/s' });
        }
      });
      await onEach(bench, area.make('mnt'), large, async (subjects) => {
        const list = join(area.folder, 'large.list');
        writeFileSync(list, Array.from({ length: 16 }, () => large.paths[0]).join('\n'));
        const title = `16 readers, each of one file of ${megabytes} MiB, cached`;
        await bench.compare(title, read(subjects, list, 16), { rounds: bench.rounds(3), unit: 'files/s' });
      });
    }),
};

interface Mounted {
  readonly name: string;
  readonly kind: Subject['kind'];
  readonly mountpoint: string;
}

/** Mounts everything beside each other for as long as an action takes. */
async function onEach(
  bench: Bench,
  folder: string,
  { stack }: Synthetic,
  action: (mounted: readonly Mounted[]) => Promise<void>,
): Promise<void> {
  const releases: (() => void)[] = [];
  const mounted: Mounted[] = [];
  try {
    for (const [i, peer] of mountPeers(bench, stack).entries()) {
      const mountpoint = join(folder, String(i));
      mkdirSync(mountpoint);
      peer.mount(stack, mountpoint);
      releases.push(onRelease(() => peer.unmount(stack, mountpoint)));
      mounted.push({ name: peer.name, kind: peer.kind, mountpoint });
    }
    await action(mounted);
  } finally {
    for (const release of releases.toReversed()) release();
  }
}

function read(mounted: readonly Mounted[], list: string, readers: number): Subject[] {
  return mounted.map(({ name, kind, mountpoint }) => {
    const once = (): number => timeScript(READERS_SCRIPT, mountpoint, list, String(readers));
    let warm = false;
    return {
      name,
      kind,
      run() {
        if (!warm) once();
        warm = true;
        return once();
      },
    };
  });
}
