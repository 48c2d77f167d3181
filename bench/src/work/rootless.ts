import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { testImage } from '../data/images.js';
import { inArea, type Bench, type Benchmark, type Subject } from '../harness/bench.js';
import { dropCaches, LAYERFS, run } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';

/** The user that mounts: one without any rights, whom fusermount3 knows by name. */
const USER = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
const FUSE_LAYERFS = join(LAYERFS, '../fuse-layerfs');

/** A way for a user to mount. */
interface Way {
  readonly name: string;
  readonly kind: Subject['kind'];
  /** @param mountpoint an empty folder of the user's */
  readonly mount: (mountpoint: string) => void;
}

/** Walks and reads as an ordinary user: without passthrough, by fusermount3. */
export const rootless: Benchmark = {
  name: 'rootless',
  about: 'as an ordinary user, by fusermount3: walks of a merged root, reads of a large file and of all files',
  needsRoot: true,
  run: (bench) =>
    inArea(bench, 6, async (area) => {
      if (!['setpriv', 'unshare', 'nsenter', 'fusermount3'].every((program) => bench.has(program))) return;
      const home = area.make('home');
      run('chown', '65534:65534', home);
      // The folder that the area lies in is its maker's.
      run('chmod', '755', join(area.folder, '..'));
      const namespace = openNamespace(area.make('devices'));
      const user = (command: string): string =>
        run('nsenter', `--mount=/proc/${namespace.pid}/ns/mnt`, ...USER, 'env', `HOME=${home}`, 'sh', '-c', command);
      try {
        const [store, plain, mountpoint] = ['store', 'plain', 'mnt'].map((name) => join(home, name));
        const layerfs = `'${LAYERFS}' --root '${store}'`;
        user(`mkdir '${mountpoint}'`);
        user(`${layerfs} import '${testImage(bench.quick ? 'mini' : 'bench')}' --name tree -q`);
        user(`${layerfs} checkout tree '${plain}' -q 2> /dev/null && chmod -R u+rwX '${plain}'`);
        const large = join(plain, 'large');
        writeFileSync(large, randomBytes((bench.quick ? 16 : 256) << 20));
        user(`${layerfs} import '${plain}' --name bench -q`);
        await compare(bench, waysOf(bench, layerfs, plain, user), mountpoint, plain, user);
      } finally {
        namespace.close();
      }
    }),
};

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

function waysOf(bench: Bench, layerfs: string, plain: string, user: (command: string) => string): Way[] {
  const ways: Way[] = [
    { name: 'layerfs mount', kind: 'ours', mount: (at) => void user(`${layerfs} mount bench '${at}' > /dev/null`) },
    {
      name: 'fuse-layerfs',
      kind: 'ours',
      mount: (at) => void user(`'${FUSE_LAYERFS}' -o 'lowerdir=${plain}' '${at}'`),
    },
  ];
  if (bench.has('fuse-overlayfs')) {
    ways.push({
      name: 'fuse-overlayfs',
      kind: 'peer',
      mount: (at) => void user(`fuse-overlayfs -o 'lowerdir=${plain}' '${at}'`),
    });
  }
  return ways;
}

async function compare(
  bench: Bench,
  ways: readonly Way[],
  mountpoint: string,
  plain: string,
  user: (command: string) => string,
): Promise<void> {
  const timed = (command: string): number => {
    const started = performance.now();
    user(command);
    return performance.now() - started;
  };
  /** Each round on a mount of its own; the limit is the folder itself. */
  const each = (title: string, action: (root: string) => number): Promise<void> => {
    const subjects: Subject[] = ways.map(({ name, kind, mount }) => ({
      name,
      kind,
      run() {
        mount(mountpoint);
        const release = onRelease(() => void user(`fusermount3 -uz '${mountpoint}'`));
        try {
          return action(mountpoint);
        } finally {
          release();
          // Its server ends a little later, and must not be measured with the next.
          run('sleep', '0.2');
        }
      },
    }));
    subjects.push({ name: 'plain folder', kind: 'limit', run: () => action(plain) });
    return bench.compare(title, subjects, { rounds: bench.rounds(5) });
  };
  const find = (root: string): string => `find '${root}' -printf '%s\\n' > /dev/null`;
  const readAll = (root: string): string => `find '${root}' -type f ! -name large -print0 | xargs -0 cat > /dev/null`;
  const cat = (root: string): string => `cat '${root}/large' > /dev/null`;
  const again = (command: string): number => {
    user(command);
    return timed(command);
  };
  await each('first find after mount, cold', (root) => {
    dropCaches();
    return timed(find(root));
  });
  await each('find again', (root) => again(find(root)));
  user(cat(plain));
  await each('a large file, first read of the mount', (root) => timed(cat(root)));
  await each('a large file, again', (root) => again(cat(root)));
  await each('every file, first read of the mount', (root) => timed(readAll(root)));
  await each('every file, again', (root) => again(readAll(root)));
}
