import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { layerBlobs, testImage } from '../data/images.js';
import { makeStack } from '../data/data.js';
import type { Area } from '../harness/area.js';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { LAYERFS, run, time } from '../harness/programs.js';
import { whileMounted, type Peer, type Stack } from '../peers/peer.js';
import { mountPeers } from '../peers/peers.js';
import { npmInstall, works, type Work } from './works.js';

const LARGE = 1 << 30;

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
      const rounds = bench.rounds(3, 1);
      const tar = join(area.folder, 'base.tar');
      run('sh', '-c', `gzip -dc '${base}' > ${tar}`);
      for (const work of works(bench, tar)) await measure(bench, area, work, stack, rounds);
      const bytes = bench.quick ? LARGE / 16 : LARGE;
      const append = { name: `append to a lower file of ${bytes >> 20} MiB`, command: 'echo more >> large' };
      await measure(bench, area, append, largeStack(area, bytes), rounds);
      if (bench.quick) bench.say('npm install is left out of quick runs');
      else if (bench.has('npm')) await measure(bench, area, npmInstall(area), stack, Math.min(rounds, 2));
    }),
};

function largeStack(area: Area, bytes: number): Stack {
  const folder = area.make('large');
  const [lower, store] = [join(folder, 'lower'), join(folder, 'store')];
  mkdirSync(lower);
  run('sh', '-c', `head -c ${bytes} /dev/zero | tr '\\0' x > ${lower}/large`);
  run(LAYERFS, '--root', store, 'import', lower, '--name', 'bench', '-q');
  return { store, image: 'bench', lowers: [lower], plain: lower };
}

async function measure(bench: Bench, area: Area, work: Work, stack: Stack, rounds: number): Promise<void> {
  const mountpoint = join(area.folder, 'mnt');
  mkdirSync(mountpoint, { recursive: true });
  const [script, before] = [join(area.folder, 'work.sh'), join(area.folder, 'before.sh')];
  writeFileSync(script, `cd ${mountpoint} && ${work.command}\n`);
  writeFileSync(before, `cd ${mountpoint} && ${work.before ?? 'true'}\n`);
  const subject = (peer: Peer) => (): number => {
    const scratch = area.make('upper');
    const took = whileMounted(
      peer,
      stack,
      mountpoint,
      () => {
        run('sh', before);
        run('sync');
        return time(`sh ${script}`);
      },
      scratch,
    );
    rmSync(scratch, { recursive: true, force: true });
    return took;
  };
  const subjects = mountPeers(bench, stack).map((peer) => ({
    name: peer.name,
    kind: peer.kind,
    run: subject(peer),
  }));
  await bench.compare(work.name, subjects, { rounds });
}
