import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openArea } from './area.js';
import { compare, oneFigure, type Figure } from './harness.js';
import { testImage, unpackLowers } from './image.js';
import { fuseOverlayPeer, layerfsPeer, overlayPeer, type Peer } from './mounts.js';
import { LAYERFS, dropCaches, memoryOf, missing, run, time, timeScript } from './programs.js';

/** How many paths the stat benchmark looks at. */
const STATS = 20_000;
const STAT_SCRIPT = `
import { readFileSync, lstatSync } from 'node:fs';
const [root, list] = process.argv.slice(1);
const paths = readFileSync(list, 'latin1').split('\\n').filter(Boolean).map((path) => Buffer.from(root + '/' + path, 'latin1'));
for (const path of paths.slice(0, 10)) lstatSync(path, { throwIfNoEntry: false });
const started = performance.now();
for (const path of paths) lstatSync(path, { throwIfNoEntry: false });
console.log(performance.now() - started);`;

/** Walks, stats and reads of a merged tree with 100,000 entries in three layers, and the server's memory. */
export async function benchUse(quick: boolean): Promise<Figure[]> {
  if (process.geteuid?.() !== 0) {
    console.log('needs root: drops caches and mounts peers');
    return [];
  }
  const image = quick ? 'mini' : 'bench';
  const rounds = quick ? 1 : 5;
  const layout = testImage(image);
  const area = openArea(quick ? 4 : 16);
  try {
    const store = area.make('store');
    run(LAYERFS, '--root', store, 'import', layout, '--name', 'bench', '-q');
    const lowers = unpackLowers(layout, area.make('lowers'), quick);
    const fuse = fuseOverlayPeer(lowers);
    if (fuse === undefined) console.log(missing('fuse-overlayfs'));
    const peers: Peer[] = [
      layerfsPeer(store, 'bench'),
      layerfsPeer(store, 'bench', ['--mount-mode', 'kernel']),
      overlayPeer(lowers),
      ...(fuse === undefined ? [] : [fuse]),
    ];
    const list = join(area.folder, 'paths');
    const mountpoint = join(area.folder, 'mnt');
    mkdirSync(mountpoint);
    await listPaths(peers[0], mountpoint, list);
    /** Runs something on a mount of its own, made for it. */
    const onMount = async (peer: Peer, action: (pid: number | undefined) => number): Promise<number> => {
      const pid = await peer.mount(mountpoint);
      try {
        return action(pid);
      } finally {
        await peer.unmount(mountpoint);
      }
    };
    const find = `find ${mountpoint} -printf '%s\\n' > /dev/null`;
    const readAll = `find ${mountpoint} -xdev -type f -print0 | xargs -0 cat > /dev/null`;
    const each = (benchmark: string, action: (pid: number | undefined) => number, times = rounds): Promise<Figure[]> =>
      compare(
        benchmark,
        peers.map((peer) => ({ name: peer.name, run: () => onMount(peer, action) })),
        times,
      );
    const figures = await each('first find after mount, cold', () => {
      dropCaches();
      return time(find);
    });
    figures.push(
      ...(await each('find again, warm', () => {
        time(find);
        return time(find);
      })),
    );
    figures.push(
      ...(await each(`${STATS} stats, not in the kernel's cache`, () => {
        time(find);
        dropCaches(2);
        return timeScript(STAT_SCRIPT, mountpoint, list);
      })),
    );
    const readRounds = Math.min(rounds, 3);
    figures.push(
      ...(await each(
        'read every file, cold',
        () => {
          dropCaches();
          return time(readAll);
        },
        readRounds,
      )),
    );
    figures.push(
      ...(await each(
        'read every file, warm',
        () => {
          time(readAll);
          return time(readAll);
        },
        readRounds,
      )),
    );
    figures.push(...(await memory(peers, onMount, find)));
    return figures;
  } finally {
    area.release();
  }
}

async function listPaths(peer: Peer, mountpoint: string, list: string): Promise<void> {
  await peer.mount(mountpoint);
  try {
    run('sh', '-c', `cd ${mountpoint} && find . -printf '%P\\n' | shuf -n ${STATS} > ${list}`);
  } finally {
    await peer.unmount(mountpoint);
  }
}

async function memory(
  peers: readonly Peer[],
  onMount: (peer: Peer, action: (pid: number | undefined) => number) => Promise<number>,
  find: string,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const kind of ['rss', 'anonymous'] as const) {
    for (const peer of peers) {
      let served = true;
      const value = await onMount(peer, (pid) => {
        served = pid !== undefined;
        if (pid === undefined) return 0;
        run('sh', '-c', find);
        // A moment of rest, as a server has between uses.
        run('sleep', '2');
        return memoryOf(pid)[kind];
      });
      if (!served) continue;
      const what = `memory of the server after a full walk, ${kind === 'rss' ? 'resident' : 'its own'}`;
      figures.push(oneFigure(what, peer.name, 'MB', value));
    }
  }
  return figures;
}
