import { join } from 'node:path';
import { mkdirSync } from 'node:fs';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { dropCaches, memoryOf, run, time, timeScript } from '../harness/programs.js';
import { whileMounted, type Peer, type Stack } from '../peers/peer.js';
import { mountPeers } from '../peers/peers.js';
import { STATS_SCRIPT } from './scripts.js';

/** How many paths the stat benchmark looks at, and how many files are read. */
const STATS = 10_000;
const READ = 5000;

/** Walks, stats and reads of a merged tree with 100,000 entries in three layers, and the server's memory. */
export const using: Benchmark = {
  name: 'use',
  about: "100,000 entries in three layers: walks, stats and reads; every file of a Debian root; the server's memory",
  needsRoot: true,
  run: (bench) =>
    inArea(bench, 1, async (area) => {
      const stack = bench.data.stack(bench.quick ? 'mini' : 'bench');
      const peers = mountPeers(bench, stack, { unionfs: false });
      const mountpoint = join(area.folder, 'mnt');
      mkdirSync(mountpoint);
      const compare = async (of: Stack, steps: readonly Step[]): Promise<void> => {
        const titles = steps.map(({ title }) => title);
        const subjects = peers.map((peer) => ({
          name: peer.name,
          kind: peer.kind,
          spare: peer.spare ?? false,
          run: (keep: (value: number) => void): void =>
            whileMounted(peer, of, mountpoint, () => {
              for (const { action } of steps) keep(action());
            }),
        }));
        await bench.compareSeries(titles, subjects, { rounds: bench.rounds(3) });
      };
      const steps = stepsOf(stack, area.folder, mountpoint);
      // At a path of more than 4096 bytes, as the small image has one, and in walks of the large one.
      if (bench.has('unionfs-fuse')) {
        bench.note(steps[0].title, 'without unionfs-fuse, here and below: its server crashes');
      }
      await compare(stack, steps);
      await compare(bench.data.stack(bench.quick ? 'mini' : 'debian'), everyFile(mountpoint));
      memory(bench, peers, stack, mountpoint);
    }),
};

/** Something that is done on a mount, and timed in milliseconds. */
interface Step {
  readonly title: string;
  readonly action: () => number;
}

function cold(command: string): number {
  dropCaches();
  return time(command);
}

/** What is done on each mount, one after the other. */
function stepsOf({ plain }: Stack, folder: string, mountpoint: string): Step[] {
  const [paths, files] = ['paths', 'files'].map((name) => join(folder, name));
  const listing = `cd '${plain}' && LC_ALL=C find . ! -path '*[[:cntrl:]]*'`;
  run('sh', '-c', `${listing} -printf '%P\\n' | shuf -n ${STATS} > '${paths}'`);
  // In the order in which a walk comes to them.
  run('sh', '-c', `${listing} -type f -printf '%P\\n' | shuf -n ${READ} | LC_ALL=C sort > '${files}'`);
  const find = `find ${mountpoint} -printf '%s\\n' > /dev/null`;
  // Names that not every peer can show are passed over.
  const read = `cd ${mountpoint} && tr '\\n' '\\0' < '${files}' | xargs -0 cat > /dev/null 2>&1 || true`;
  return [
    { title: 'first find after mount, cold', action: () => cold(find) },
    { title: 'find again, warm', action: () => time(find) },
    {
      title: `${STATS.toLocaleString('en-US')} stats, not in the kernel's cache`,
      action() {
        dropCaches(2);
        return (timeScript(STATS_SCRIPT, mountpoint, paths) * STATS) / 1000;
      },
    },
    { title: `read ${READ.toLocaleString('en-US')} files, cold`, action: () => cold(read) },
    { title: `read ${READ.toLocaleString('en-US')} files again, warm`, action: () => time(read) },
  ];
}

/** An image with a Debian root is read as whoever searches or copies it does. */
function everyFile(mountpoint: string): Step[] {
  const read = `find ${mountpoint} -type f -print0 | xargs -0 cat > /dev/null`;
  return [
    { title: 'find and read every file of a Debian root, cold', action: () => cold(read) },
    { title: 'find and read them again, warm', action: () => time(read) },
  ];
}

function memory(bench: Bench, peers: readonly Peer[], stack: Stack, mountpoint: string): void {
  const title = 'memory of the server after a full walk';
  for (const peer of peers) {
    try {
      whileMounted(peer, stack, mountpoint, (pid) => {
        if (pid === undefined) return;
        run('find', mountpoint, '-fprintf', '/dev/null', '%s\\n');
        // A moment of rest, as a server has between uses.
        run('sleep', bench.quick ? '0.6' : '2');
        const { rss, anonymous } = memoryOf(pid);
        bench.once(`${title}, resident`, peer.name, peer.kind, 'MB', rss);
        bench.once(`${title}, its own`, peer.name, peer.kind, 'MB', anonymous);
      });
    } catch (error) {
      if (peer.kind !== 'peer') throw error;
      bench.note(`${title}, resident`, `without ${peer.name}, which failed`);
    }
  }
}
