import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { layerBlobs, testImage } from '../data/images.js';
import { makeStack } from '../data/data.js';
import type { Area } from '../harness/area.js';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { LAYERFS, run, time } from '../harness/programs.js';
import { whileMounted, type Peer, type Stack } from '../peers/peer.js';
import { mountPeers } from '../peers/peers.js';
import { gitWork, LOWER_WORKS, newWorks, npmInstall, type Work } from './works.js';

const LARGE = 512 << 20;
/** Who takes minutes: for everything, and for the largest works. */
const SLOW = ['layerfs fuse-native'];
const SLOWER = [...SLOW, 'unionfs-fuse'];

/** Changes: every kind of work on a writable root, against the peers over the same lowers and a plain copy. */
export const writing: Benchmark = {
  name: 'write',
  about:
    'work on a writable Debian root: untar, rm, chmod, large and small files, SQLite, git, a compiler, append, npm install',
  needsRoot: true,
  run: (bench) =>
    inArea(bench, bench.quick ? 6 : 40, async (area) => {
      const layout = testImage(bench.quick ? 'mini' : 'debian');
      // Not the shared one: our uppers lie in the store, and have to be on the same filesystem as the peers'.
      const stack = makeStack(layout, area.make('base'), true);
      const [base] = layerBlobs(layout);
      const rounds = bench.rounds(2);
      const tar = join(area.folder, 'base.tar');
      run('sh', '-c', `gzip -dc '${base}' > ${tar}`);
      const peers = mountPeers(bench, stack);
      const fresh = newWorks(bench, tar);
      const some = leaveOut(bench, fresh, peers, SLOW);
      await measure(bench, area, fresh, stack, some, rounds);
      for (const work of LOWER_WORKS) {
        await measure(bench, area, [work], stack, leaveOut(bench, [work], peers, SLOW), rounds);
      }
      const fewer = (work: Work): Peer[] => leaveOut(bench, [work], peers, SLOWER);
      if (bench.has('git')) {
        const git = gitWork(bench.quick ? 'usr' : 'usr/share/perl');
        await measure(bench, area, [git], stack, fewer(git), rounds);
      }
      const bytes = bench.quick ? LARGE / 8 : LARGE;
      const append = { name: `append to a lower file of ${bytes >> 20} MiB`, command: 'echo more >> large' };
      await measure(bench, area, [append], largeStack(area, bytes), fewer(append), rounds);
      if (bench.quick) bench.say('npm install is left out of quick runs');
      else if (bench.has('npm')) {
        const install = npmInstall(area);
        await measure(bench, area, [install], stack, fewer(install), rounds);
      }
    }),
};

/** Peers but those that take minutes, which is noted. With `--full` all. */
function leaveOut(bench: Bench, works: readonly Work[], peers: readonly Peer[], slow: readonly string[]): Peer[] {
  if (bench.full) return [...peers];
  const out = peers.filter(({ name }) => slow.includes(name));
  for (const { name } of works) {
    if (out.length > 0) bench.note(name, `without ${out.map((peer) => peer.name).join(' and ')}: too slow`);
  }
  return peers.filter((peer) => !out.includes(peer));
}

function largeStack(area: Area, bytes: number): Stack {
  const folder = area.make('large');
  const [lower, store] = [join(folder, 'lower'), join(folder, 'store')];
  mkdirSync(lower);
  run('sh', '-c', `head -c ${bytes} /dev/zero | tr '\\0' x > ${lower}/large`);
  run(LAYERFS, '--root', store, 'import', lower, '--name', 'bench', '-q');
  return { store, image: 'bench', lowers: [lower], plain: lower };
}

/** Each round on a new mount of each peer: all works on it, one after the other. */
async function measure(
  bench: Bench,
  area: Area,
  works: readonly Work[],
  stack: Stack,
  peers: readonly Peer[],
  rounds: number,
): Promise<void> {
  const mountpoint = join(area.folder, 'mnt');
  mkdirSync(mountpoint, { recursive: true });
  const [script, before] = [join(area.folder, 'work.sh'), join(area.folder, 'before.sh')];
  const subjects = peers.map((peer) => ({
    name: peer.name,
    kind: peer.kind,
    spare: peer.spare ?? false,
    run: (keep: (value: number) => void): void =>
      // What was changed stays until the end: ext4 is slow to create files for some seconds after many were removed.
      whileMounted(
        peer,
        stack,
        mountpoint,
        () => {
          for (const work of works) {
            writeFileSync(script, `cd ${mountpoint} && ${work.command}\n`);
            writeFileSync(before, `cd ${mountpoint} && ${work.before ?? 'true'}\n`);
            run('sh', before);
            run('sync');
            keep(time(`sh ${script}`));
          }
        },
        area.make('upper'),
      ),
  }));
  await bench.compareSeries(
    works.map(({ name }) => name),
    subjects,
    { rounds },
  );
}
