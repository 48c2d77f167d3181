import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testImage } from '../data/images.js';
import { inArea, type Bench, type Benchmark, type Rounds, type Series } from '../harness/bench.js';
import { dropCaches, LAYERFS, run } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';

/** The user that mounts: one without any rights, whom fusermount3 knows by name. */
const USER = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
const FUSE_LAYERFS = join(LAYERFS, '../fuse-layerfs');

/** Size in MiB of the large file of a quick run; otherwise it is 16 times as large. */
const LARGE = 16;

/** Shows the same files in several ways. */
interface Shown {
  /** Of the store that `layerfs mount` mounts. */
  readonly image: string;
  /** A folder with the same in it: the lower of the others, and the limit. */
  readonly folder: string;
}

/** A way for a user to mount. */
interface Way {
  readonly name: string;
  readonly kind: Series['kind'];
  /** @param mountpoint an empty folder of the user's */
  readonly mount: (shown: Shown, mountpoint: string) => void;
}

/** Runs a command as the user, to its end. */
type AsUser = (command: string) => string;

/** Walks and reads as an ordinary user: without passthrough, by fusermount3. */
export const rootless: Benchmark = {
  name: 'rootless',
  about:
    'as an ordinary user, by fusermount3: walks of a merged root, reads of large and of small files, first and again',
  needsRoot: true,
  run: (bench) =>
    inArea(bench, 6, async (area) => {
      if (!['setpriv', 'unshare', 'nsenter', 'fusermount3'].every((program) => bench.has(program))) return;
      const home = area.make('home');
      run('chown', '65534:65534', home);
      // The folder that the area lies in is its maker's.
      run('chmod', '755', join(area.folder, '..'));
      const namespace = openNamespace(area.make('devices'));
      const user: AsUser = (command) =>
        run('nsenter', `--mount=/proc/${namespace.pid}/ns/mnt`, ...USER, 'env', `HOME=${home}`, 'sh', '-c', command);
      try {
        const [store, mountpoint] = ['store', 'mnt'].map((name) => join(home, name));
        const layerfs = `'${LAYERFS}' --root '${store}'`;
        user(`mkdir '${mountpoint}'`);
        const compare = comparer(bench, waysOf(bench, layerfs, user), mountpoint, user);
        await walks(bench, compare, tree(bench, layerfs, join(home, 'tree'), user), user);
        await reads(bench, compare, files(bench, layerfs, join(home, 'files'), user), user);
      } finally {
        namespace.close();
      }
    }),
};

/** A whole image; as files what a user can make of it: without devices, all owned by the user. */
function tree(bench: Bench, layerfs: string, folder: string, user: AsUser): Shown {
  user(`${layerfs} import '${testImage(bench.quick ? 'mini' : 'bench')}' --name tree -q`);
  user(`${layerfs} checkout tree '${folder}' -q 2> /dev/null && chmod -R u+rwX '${folder}'`);
  return { image: 'tree', folder };
}

/** A large file, and many small ones of up to 16 KiB. */
function files(bench: Bench, layerfs: string, folder: string, user: AsUser): Shown {
  const [folders, each, megabytes] = bench.quick ? [20, 50, LARGE] : [100, 100, 16 * LARGE];
  const bytes = randomBytes(1 << 20);
  for (let i = 0; i < folders; i++) {
    const at = join(folder, 'small', String(i));
    mkdirSync(at, { recursive: true });
    for (let j = 0; j < each; j++) {
      // Each another one, or they would be one object.
      const start = (i * each + j) * 37;
      writeFileSync(join(at, String(j)), bytes.subarray(start, start + 100 + ((start * 7) % (16 << 10))));
    }
  }
  writeFileSync(join(folder, 'large'), randomBytes(megabytes << 20));
  run('chown', '-R', '65534:65534', folder);
  user(`${layerfs} import '${folder}' --name files -q`);
  return { image: 'files', folder };
}

async function walks(bench: Bench, compare: Compare, shown: Shown, user: AsUser): Promise<void> {
  const find = (root: string): number => timed(user, `find '${root}' -printf '%s\\n' > /dev/null`);
  find(shown.folder);
  const warm = ['first walk of the mount, disk caches warm', 'the walk again'];
  await compare(warm, shown, { rounds: bench.rounds(2) }, (root) => [find(root), find(root)]);
  if (bench.quick) return;
  await compare(['first walk of the mount, cold'], shown, { rounds: Math.min(2, bench.rounds(2)) }, (root) => {
    dropCaches();
    return [find(root)];
  });
}

async function reads(bench: Bench, compare: Compare, shown: Shown, user: AsUser): Promise<void> {
  const cat = (root: string): number => timed(user, `cat '${root}/large' > /dev/null`);
  const small = (root: string): number => timed(user, `find '${root}/small' -type f -exec cat {} + > /dev/null`);
  // Nothing is still to be written, and objects and plain files are in memory, before each round: disks are left out of it.
  const warm = (what: string): string => user(`cd "$HOME" && find ${what} -type f -exec cat {} + > /dev/null`);
  run('sync');
  // As they were written, objects and plain files lie in memory in pieces of different sizes; as they are read from the disk, in the same.
  dropCaches();
  warm('store/objects files');
  // A tenth of a second each, and the machine scatters by more than the difference.
  const titles = ['a large file, first read of the mount', 'a large file, again'];
  await compare(titles, shown, { rounds: bench.rounds(60), close: true }, (root) => {
    warm(`store/objects files/large -size +${LARGE >> 1}M`);
    return [cat(root), cat(root)];
  });
  const many = ['many small files, first read of the mount', 'many small files, again'];
  await compare(many, shown, { rounds: bench.rounds(3) }, (root) => [small(root), small(root)]);
}

function timed(user: AsUser, command: string): number {
  const started = performance.now();
  user(command);
  return performance.now() - started;
}

/** A mount namespace where /dev/fuse is for everybody, as on most machines. `pid`: a process in it. */
function openNamespace(folder: string): { readonly pid: number; readonly close: () => void } {
  const script = `mknod -m 666 '${folder}/fuse' c 10 229; mount --bind '${folder}/fuse' /dev/fuse; touch '${folder}/ready'; exec sleep infinity`;
  const holder = spawn('unshare', ['--mount', '--propagation', 'slave', 'sh', '-ec', script], { stdio: 'ignore' });
  const close = onRelease(() => void holder.kill());
  for (let i = 0; !existsSync(join(folder, 'ready')); i++) {
    if (i === 500) throw new Error('unshare made no mount namespace');
    run('sleep', '0.01');
  }
  return { pid: holder.pid ?? 0, close };
}

function waysOf(bench: Bench, layerfs: string, user: AsUser): Way[] {
  const ways: Way[] = [
    {
      name: 'layerfs mount',
      kind: 'ours',
      mount: ({ image }, at) => void user(`${layerfs} mount ${image} '${at}' > /dev/null`),
    },
    {
      name: 'fuse-layerfs',
      kind: 'ours',
      mount: ({ folder }, at) => void user(`'${FUSE_LAYERFS}' -o 'lowerdir=${folder}' '${at}'`),
    },
  ];
  if (bench.has('fuse-overlayfs')) {
    ways.push({
      name: 'fuse-overlayfs',
      kind: 'peer',
      mount: ({ folder }, at) => void user(`fuse-overlayfs -o 'lowerdir=${folder}' '${at}'`),
    });
  }
  return ways;
}

/** Has an action measure several things, one for each title, in each round on a mount of its own. */
type Compare = (
  titles: readonly string[],
  shown: Shown,
  rounds: Rounds,
  action: (root: string) => readonly number[],
) => Promise<void>;

function comparer(bench: Bench, ways: readonly Way[], mountpoint: string, user: AsUser): Compare {
  return (titles, shown, rounds, action) => {
    const keepAll = (root: string, keep: (value: number) => void): void => {
      for (const value of action(root)) keep(value);
    };
    const mounted = ways.map(({ name, kind, mount }): Series => ({
      name,
      kind,
      run(keep) {
        mount(shown, mountpoint);
        const release = onRelease(() => void user(`fusermount3 -uz '${mountpoint}'`));
        try {
          keepAll(mountpoint, keep);
        } finally {
          release();
          // Its server ends a little later, and must not be measured with the next.
          run('sleep', '0.2');
        }
      },
    }));
    const plain: Series = { name: 'plain folder', kind: 'limit', run: (keep) => keepAll(shown.folder, keep) };
    return bench.compareSeries(titles, [...mounted, plain], rounds);
  };
}
