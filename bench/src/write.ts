import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openArea, type Area } from './area.js';
import { compare, type Figure, type Subject } from './harness.js';
import { layerBlobs, testImage, unpackLowers } from './image.js';
import { LAYERFS, TOP, has, missing, run, time } from './programs.js';

/** A writable mount of the same lowers; each has a fresh upper. */
interface Peer {
  readonly name: string;
  mount(mountpoint: string, round: number): void;
  unmount(mountpoint: string): void;
}

/** A whole piece of work on a writable mount; `before` is not timed. */
interface Work {
  readonly name: string;
  readonly before?: string;
  readonly command: string;
}

const LARGE = 1 << 30;

/** Changes: every kind of work on a writable root, against kernel overlayfs and fuse-overlayfs over the same lowers. */
export async function benchWrite(quick: boolean): Promise<Figure[]> {
  if (process.geteuid?.() !== 0) {
    console.log('needs root: mounts peers');
    return [];
  }
  const layout = testImage(quick ? 'mini' : 'debian');
  const area = openArea(quick ? 6 : 24);
  try {
    const lowers = unpackLowers(layout, area.make('lowers'), true);
    const large = area.make('large');
    run('sh', '-c', `head -c ${quick ? LARGE / 16 : LARGE} /dev/zero | tr '\\0' x > ${large}/large`);
    const store = area.make('store');
    run('tar', '-C', large, '-cf', join(area.folder, 'large.tar'), 'large');
    run(LAYERFS, '--root', store, 'import', layout, '--name', 'base', '-q');
    run(LAYERFS, '--root', store, 'import', join(area.folder, 'large.tar'), '--name', 'large', '-q');
    const [base] = layerBlobs(layout);
    const rounds = quick ? 1 : 5;
    const figures: Figure[] = [];
    const tar = join(area.folder, 'base.tar');
    run('sh', '-c', `gzip -dc '${base}' > ${tar}`);
    for (const work of works(tar))
      figures.push(...(await measure(area, work, peers(area, store, 'base', lowers), rounds)));
    const append = { name: 'append to a 1 GiB lower file', command: 'echo more >> large' };
    figures.push(...(await measure(area, append, peers(area, store, 'large', [large]), Math.min(rounds, 3))));
    if (has('npm')) {
      // What npm takes in a plain folder is the limit.
      const all = [...peers(area, store, 'base', lowers), plainFolder(area)];
      figures.push(...(await measure(area, npmInstall(area), all, Math.min(rounds, 3))));
    } else console.log(missing('npm'));
    return figures;
  } finally {
    area.release();
  }
}

function works(tar: string): Work[] {
  const script = (text: string): string => `python3 -c "${text.trim().replaceAll('\n', ';')}"`;
  const list: Work[] = [
    { name: 'untar a Debian root', command: `mkdir new && tar x -C new -f ${tar}` },
    { name: 'rm -rf of a new tree', before: `mkdir new && tar x -C new -f ${tar}`, command: 'rm -rf new' },
    { name: 'rm -rf of a lower tree', command: 'rm -rf usr/share usr/lib' },
    { name: 'chmod -R of a lower tree', command: 'chmod -R o-x usr' },
    { name: 'write 1 GiB', command: 'dd if=/dev/zero of=big bs=1M count=1024 2> /dev/null' },
  ];
  if (!has('python3')) {
    console.log(missing('python3'));
    return list;
  }
  list.push(
    {
      name: 'create 10,000 small files',
      command: script(`
import os
os.mkdir('many')
[open('many/%d' % i, 'w').write('x' * 100) for i in range(10000)]`),
    },
    {
      name: '500 SQLite transactions',
      command: script(`
import sqlite3
db = sqlite3.connect('test.db', isolation_level=None)
db.execute('create table t (a integer primary key, b text)')
[db.execute('insert into t (b) values (?)', ('x' * 200,)) for i in range(500)]`),
    },
  );
  return list;
}

/** Some hundred real packages out of npm's cache, as the tests install them. */
function npmInstall(area: Area): Work {
  const folder = area.make('npm');
  const prepared = JSON.parse(run(process.execPath, join(TOP, 'test/dist/npm/prepare.js'), folder)) as {
    packages: number;
    command: string;
  };
  return {
    name: `npm install of ${prepared.packages} packages`,
    before: `cp -r ${folder}/project new`,
    command: `cd new && ${prepared.command}`,
  };
}

/** No union at all. */
function plainFolder(area: Area): Peer {
  return {
    name: 'plain folder',
    mount: (mountpoint) => void run('mount', '--bind', area.make('plain'), mountpoint),
    unmount: (mountpoint) => void run('umount', mountpoint),
  };
}

function peers(area: Area, store: string, image: string, lowers: readonly string[]): Peer[] {
  const lowerdir = lowers.join(':');
  const folders = (): string => {
    const folder = area.make('upper');
    for (const name of ['upper', 'work']) mkdirSync(join(folder, name));
    return `lowerdir=${lowerdir},upperdir=${folder}/upper,workdir=${folder}/work`;
  };
  const layerfs = (name: string, ...options: string[]): Peer => ({
    name,
    mount: (mountpoint) => void run(LAYERFS, '--root', store, 'mount', image, mountpoint, '--rw', '-q', ...options),
    unmount: (mountpoint) => void run(LAYERFS, '--root', store, 'unmount', mountpoint),
  });
  const list: Peer[] = [
    layerfs('layerfs'),
    layerfs('layerfs --mount-mode kernel', '--mount-mode', 'kernel'),
    {
      name: 'kernel overlayfs',
      mount: (mountpoint) => void run('mount', '-t', 'overlay', 'overlay', '-o', folders(), mountpoint),
      unmount: (mountpoint) => void run('umount', mountpoint),
    },
  ];
  if (has('fuse-overlayfs')) {
    list.push({
      name: 'fuse-overlayfs',
      mount: (mountpoint) => void run('fuse-overlayfs', '-o', folders(), mountpoint),
      unmount: (mountpoint) => void run('umount', mountpoint),
    });
  } else console.log(missing('fuse-overlayfs'));
  return list;
}

function measure(area: Area, work: Work, all: readonly Peer[], rounds: number): Promise<Figure[]> {
  const mountpoint = join(area.folder, 'mnt');
  rmSync(mountpoint, { recursive: true, force: true });
  mkdirSync(mountpoint);
  const script = join(area.folder, 'work.sh');
  const before = join(area.folder, 'before.sh');
  writeFileSync(script, `cd ${mountpoint} && ${work.command}\n`);
  writeFileSync(before, `cd ${mountpoint} && ${work.before ?? 'true'}\n`);
  const subjects = all.map((peer): Subject => {
    let round = 0;
    return {
      name: peer.name,
      run: () => {
        peer.mount(mountpoint, round++);
        try {
          run('sh', before);
          run('sync');
          return time(`sh ${script}`);
        } finally {
          peer.unmount(mountpoint);
        }
      },
    };
  });
  return compare(work.name, subjects, rounds);
}
