import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeStack } from '../data/data.js';
import { layerBlobs, testImage } from '../data/images.js';
import type { Area } from '../harness/area.js';
import { inArea, type Benchmark, type Subject } from '../harness/bench.js';
import { LAYERFS, run, time } from '../harness/programs.js';
import { kernelOverlayfs } from '../peers/kernel.js';
import { onRelease } from '../harness/release.js';
import { baseLayer } from './import.js';

/** From an image to a root that can be written to, and from what was changed to an image again. */
export const snapshot: Benchmark = {
  name: 'snapshot',
  about: 'prepare: a writable root from an image; commit: an image of what was changed in it',
  needsRoot: true,
  run: (bench) =>
    inArea(bench, bench.quick ? 4 : 30, async (area) => {
      const { layout } = baseLayer(testImage(bench.quick ? 'mini' : 'debian', 'multi'), area.make('image'));
      const stack = makeStack(layout, area.make('stack'), false);
      const tar = join(area.folder, 'changes.tar');
      run('sh', '-c', `gzip -dc '${layerBlobs(layout)[0]}' > ${tar}`);
      const ways = [...layerfsWays(area, stack.store), overlayWay(area, stack)];
      if (bench.has('umoci')) ways.push(umociWay(area, layout));
      const rounds = bench.rounds(3);
      await bench.compare('prepare a writable root', ways.map(prepared), { rounds });
      // Some thousand files; all of it would take minutes.
      const change = `mkdir new && tar x -C new -f ${tar} --wildcards '*${bench.quick ? '' : 'usr/share'}*'`;
      const subjects = ways.map((way) => committed(way, change));
      await bench.compare('commit what was unpacked as a layer', subjects, { rounds });
    }),
};

/** A tool that keeps roots. */
interface Way {
  readonly name: string;
  readonly kind: Subject['kind'];
  /** Prepares a root. */
  readonly prepare: () => Prepared;
}

interface Prepared {
  readonly root: string;
  /** Makes a layer of what was changed. */
  commit(): void;
  remove(): void;
}

function timed(action: () => void): number {
  run('sync');
  const started = performance.now();
  action();
  return performance.now() - started;
}

function prepared({ name, kind, prepare }: Way): Subject {
  return {
    name,
    kind,
    run() {
      let made: Prepared | undefined;
      const took = timed(() => (made = prepare()));
      made?.remove();
      return took;
    },
  };
}

function committed({ name, kind, prepare }: Way, change: string): Subject {
  return {
    name,
    kind,
    run() {
      const made = prepare();
      const release = onRelease(() => made.remove());
      try {
        time(`cd ${made.root} && ${change}`);
        return timed(() => made.commit());
      } finally {
        release();
      }
    },
  };
}

function layerfsWays(area: Area, store: string): Way[] {
  let sequence = 0;
  const layerfs = (...words: string[]): void => void run(LAYERFS, '--root', store, ...words, '-q');
  return [[], ['--mount-mode', 'kernel']].map((options) => ({
    name: options.length === 0 ? 'layerfs FUSE' : 'layerfs kernel',
    kind: 'ours',
    prepare() {
      const root = area.make('mnt');
      const name = `s${sequence++}`;
      layerfs('mount', 'bench', root, '--name', name, ...options);
      let mounted = true;
      const unmount = (): void => {
        if (mounted) layerfs('unmount', root);
        mounted = false;
      };
      return {
        root,
        commit() {
          // What the kernel shows cannot be held still while it is read.
          if (options.length > 0) unmount();
          layerfs('commit', name, `bench:${name}`);
        },
        remove: unmount,
      };
    },
  }));
}

/** The least that can be done: folders, one mount; one tar, compressed as layers are. */
function overlayWay(area: Area, stack: Parameters<typeof kernelOverlayfs.mount>[0]): Way {
  return {
    name: 'kernel overlayfs; tar | gzip',
    kind: 'limit',
    prepare() {
      const folder = area.make('overlay');
      const [root, scratch] = [join(folder, 'mnt'), join(folder, 'scratch')];
      for (const made of [root, scratch]) mkdirSync(made);
      kernelOverlayfs.mountWritable(stack, root, scratch);
      return {
        root,
        commit: () => void time(`tar c -C ${scratch}/upper . | gzip > ${folder}/layer.tar.gz && sync -f ${folder}`),
        remove: () => kernelOverlayfs.unmount(stack, root),
      };
    },
  };
}

function umociWay(area: Area, source: string): Way {
  return {
    name: 'umoci',
    kind: 'peer',
    prepare() {
      const folder = area.make('umoci');
      const [layout, bundle] = [join(folder, 'layout'), join(folder, 'bundle')];
      cpSync(source, layout, { recursive: true });
      run('umoci', 'unpack', '--image', `${layout}:latest`, bundle);
      return {
        root: join(bundle, 'rootfs'),
        commit: () => void run('umoci', 'repack', '--image', `${layout}:new`, bundle),
        remove: () => void run('rm', '-rf', folder),
      };
    },
  };
}
