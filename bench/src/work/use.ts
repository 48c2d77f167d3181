import { join } from 'node:path';
import { mkdirSync } from 'node:fs';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { dropCaches, memoryOf, run, time, timeScript } from '../harness/programs.js';
import { comparePeers, whileMounted, type Peer, type Stack } from '../peers/peer.js';
import { mountPeers } from '../peers/peers.js';
import { STATS_SCRIPT } from './scripts.js';

/** How many paths the stat benchmark looks at. */
const STATS = 20_000;
/** They are in `files`, with fewer files. */
const SLOW_READERS: ReadonlySet<string> = new Set(['unionfs-fuse', 'layerfs fuse-native']);
/** Walks, stats and reads of a merged tree with 100,000 entries in three layers, and the server's memory. */
export const using: Benchmark = {
  name: 'use',
  about: "100,000 entries in three layers: walks, stats and reads, cold and warm; the server's memory",
  needsRoot: true,
  run: (bench) =>
    inArea(bench, 1, async (area) => {
      const stack = bench.data.stack(bench.quick ? 'mini' : 'bench');
      // unionfs-fuse ends at a path of more than 4096 bytes, as the small image has one.
      const peers = mountPeers(bench, stack, { unionfs: !bench.quick });
      const rounds = bench.rounds(5, 1);
      const mountpoint = join(area.folder, 'mnt');
      mkdirSync(mountpoint);
      const list = listPaths(stack, area.folder);
      const find = `find ${mountpoint} -printf '%s\\n' > /dev/null`;
      const readAll = `find ${mountpoint} -xdev -type f -print0 | xargs -0 cat > /dev/null`;
      const each = (title: string, action: () => number, times = rounds, some = peers): Promise<void> =>
        comparePeers(bench, title, some, stack, mountpoint, action, times);
      const twice = (command: string): number => {
        run('sh', '-c', command);
        return time(command);
      };
      const cold = (command: string): number => {
        dropCaches();
        return time(command);
      };
      await each('first find after mount, cold', () => cold(find));
      await each('find again, warm', () => twice(find));
      await each(`${STATS} stats, not in the kernel's cache`, () => {
        time(find);
        dropCaches(2);
        return (timeScript(STATS_SCRIPT, mountpoint, list) * STATS) / 1000;
      });
      // A round of those with a request for each piece that is read takes minutes.
      const readers = bench.quick ? peers : peers.filter(({ name }) => !SLOW_READERS.has(name));
      const readRounds = Math.min(rounds, 2);
      await each('read every file, cold', () => cold(readAll), readRounds, readers);
      await each('read every file, warm', () => twice(readAll), readRounds, readers);
      memory(bench, peers, stack, mountpoint, find);
    }),
};

/** Paths of a root, relative, at random; some come twice when it is small. */
function listPaths({ plain }: Stack, folder: string): string {
  const list = join(folder, 'paths');
  run(
    'sh',
    '-c',
    `cd '${plain}' && LC_ALL=C find . ! -path '*[[:cntrl:]]*' -printf '%P\\n' | shuf -n ${STATS} > '${list}'`,
  );
  return list;
}

function memory(bench: Bench, peers: readonly Peer[], stack: Stack, mountpoint: string, find: string): void {
  for (const peer of peers) {
    whileMounted(peer, stack, mountpoint, (pid) => {
      if (pid === undefined) return;
      run('sh', '-c', find);
      // A moment of rest, as a server has between uses.
      run('sleep', '2');
      const { rss, anonymous } = memoryOf(pid);
      bench.once('memory of the server after a full walk, resident', peer.name, peer.kind, 'MB', rss);
      bench.once('memory of the server after a full walk, its own', peer.name, peer.kind, 'MB', anonymous);
    });
  }
}
