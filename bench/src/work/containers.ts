import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testImage } from '../data/images.js';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { LAYERFS, dropCaches, run } from '../harness/programs.js';
import { turn } from '../harness/release.js';
import { startRuntimes, type Runtime } from '../peers/runtimes.js';
import { SnapshotsClient } from '../peers/snapshots-client.js';
import { end, image, named, REPOSITORY } from './container.js';
import { baseLayer } from './import.js';

const MB = 1e6;
/** More would only wear the disk. */
const LARGE_ROUNDS = 5;

/** containerd with our snapshotter, and with its own: snapshots, images, containers. */
export const containers: Benchmark = {
  name: 'containerd',
  about: 'containerd on layerfs and overlayfs (--full: native): snapshots, unpacking, starting, reading inside',
  needsRoot: true,
  async run(bench) {
    if (!['containerd', 'ctr', 'runc'].every((program) => bench.has(program))) return;
    await inArea(bench, bench.quick ? 8 : 60, async (area) => {
      // Copies of all files for each container take long.
      const runtimes = await startRuntimes(area, bench.full);
      try {
        const { archive } = baseLayer(testImage('debian', 'multi'), area.make('source'));
        await snapshots(bench, runtimes);
        await unpacking(bench, runtimes, archive);
        await starting(bench, runtimes);
        await reading(bench, runtimes);
      } finally {
        for (const runtime of runtimes) await runtime.stop();
      }
    });
  },
};

/** Keeps all values of something, and their 99th percentile as a figure of its own. */
function keep(bench: Bench, title: string, { name, kind }: Runtime, values: readonly number[]): void {
  bench.add(title, { subject: name, kind, unit: 'ms', values });
  const sorted = values.toSorted((a, b) => a - b);
  bench.once(`${title}, p99`, name, kind, 'ms', sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN);
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await action();
  return performance.now() - started;
}

/** Times of each subject's calls: in blocks of ten, in turn. */
async function snapshots(bench: Bench, runtimes: readonly Runtime[]): Promise<void> {
  const blocks = bench.rounds(20, 2);
  const size = bench.quick ? 4 << 20 : 128 << 20;
  const what = [
    'prepare a snapshot',
    // A call on which nothing is done: what calling costs.
    'ask for its mounts',
    'commit it',
    `commit a layer of ${size >> 20} MiB`,
    'remove it',
  ] as const;
  const all = runtimes.map(() => what.map((): number[] => []));
  const clients = runtimes.map(({ containerd, snapshotter }) => new SnapshotsClient(containerd.socket, snapshotter));
  try {
    for (const client of clients) {
      await client.prepare('base key', '');
      await client.commit('base', 'base key');
    }
    for (let block = 0; block < blocks; block++) {
      for (const [i, client] of clients.entries()) {
        await turn();
        const [prepares, asks, commits, larges, removes] = all[i];
        for (let each = 0; each < 10; each++) {
          const key = `${block} ${each}`;
          prepares.push(await timed(() => client.prepare(key, 'base')));
          asks.push(await timed(() => client.mounts(key)));
          commits.push(await timed(() => client.commit(`done ${key}`, key)));
        }
        if (block < LARGE_ROUNDS) {
          const upper = await client.prepare('large', 'base');
          writeFileSync(join(upper, 'large'), Buffer.alloc(size, block));
          larges.push(await timed(() => client.commit(`large ${block}`, 'large')));
          await client.remove(`large ${block}`);
        }
        for (let each = 0; each < 10; each++) {
          removes.push(await timed(() => client.remove(`done ${block} ${each}`)));
        }
      }
    }
  } finally {
    for (const client of clients) client.close();
  }
  for (const [at, title] of what.entries()) {
    for (const [i, runtime] of runtimes.entries()) keep(bench, title, runtime, all[i][at]);
  }
  await removing(bench, runtimes);
}

/** containerd only notes what is removed; its garbage collection calls the snapshotter. */
async function removing(bench: Bench, runtimes: readonly Runtime[]): Promise<void> {
  const count = bench.quick ? 10 : 100;
  const collect = ({ ctr }: Runtime): void => {
    const lease = ctr('leases', 'create').trim();
    ctr('leases', 'delete', '--sync', lease);
  };
  for (const runtime of runtimes) collect(runtime);
  const subjects = runtimes.map((runtime) => ({
    name: runtime.name,
    kind: runtime.kind,
    async run() {
      const client = new SnapshotsClient(runtime.containerd.socket, runtime.snapshotter);
      for (let i = 0; i < count; i++) await client.prepare(`gone ${i}`, 'base');
      for (let i = 0; i < count; i++) await client.remove(`gone ${i}`);
      client.close();
      return timed(() => Promise.resolve(collect(runtime)));
    },
  }));
  await bench.compare(`garbage collection of ${count} snapshots`, subjects, { rounds: bench.rounds(5) });
}

async function unpacking(bench: Bench, runtimes: readonly Runtime[], archive: string): Promise<void> {
  // Namespaces share no snapshots, and content only where it is told to be shared.
  let round = 0;
  const subjects = runtimes.map((runtime) => ({
    name: runtime.name,
    kind: runtime.kind,
    async run() {
      await runtime.settled();
      run('sync');
      const words = ['image', 'import', '--snapshotter', runtime.snapshotter, '--base-name', REPOSITORY, archive];
      return timed(() => Promise.resolve(void runtime.ctr('-n', `round${round++}`, ...words)));
    },
  }));
  await bench.compare('unpack a Debian image through containerd', subjects, { rounds: bench.rounds(3) });
  const [ours, ...others] = runtimes;
  run(LAYERFS, '--root', ours.folder, 'import', archive, '--name', 'bench', '-q');
  run(LAYERFS, '--root', ours.folder, 'offer', 'bench', '--address', ours.containerd.socket);
  const words = (snapshotter: string): string[] => [
    'image',
    'import',
    '--snapshotter',
    snapshotter,
    '--base-name',
    REPOSITORY,
    archive,
  ];
  const known = await timed(() => Promise.resolve(void ours.ctr(...words(ours.snapshotter))));
  bench.once('take in an image of the store, without unpacking', ours.name, ours.kind, 'ms', known);
  for (const other of others) other.ctr(...words(other.snapshotter));
  for (const runtime of runtimes) await runtime.settled();
  run('sync');
}

async function starting(bench: Bench, runtimes: readonly Runtime[]): Promise<void> {
  const values = runtimes.map((): number[] => []);
  const rounds = bench.rounds(50, 2);
  // The first one mounts what all others use.
  for (let round = -1; round < rounds; round++) {
    for (const [i, runtime] of runtimes.entries()) {
      await turn();
      const name = named(runtime, `start${round}`);
      const words = ['run', '--rm', '--snapshotter', runtime.snapshotter, image(runtime), name, '/bin/true'];
      const took = await timed(() => Promise.resolve(void runtime.ctr(...words)));
      if (round >= 0) values[i].push(took);
    }
  }
  for (const [i, runtime] of runtimes.entries()) keep(bench, 'ctr run … true', runtime, values[i]);
}

/** Reads all of the image's files, inside containers that were started before. */
async function reading(bench: Bench, runtimes: readonly Runtime[]): Promise<void> {
  const script = [
    'now() { date +%s%N; }',
    'read_all() { find /usr /var /etc -xdev -type f -print0 | xargs -0 cat | wc -c; }',
    'a=$(now); n=$(read_all); b=$(now); echo $n $((b-a))',
  ].join('; ');
  let calls = 0;
  const read = (runtime: Runtime): number => {
    const words = ['--exec-id', `read${calls++}`, named(runtime, 'reader'), '/bin/sh', '-c', script];
    const [bytes, nanoseconds] = runtime
      .ctr('task', 'exec', ...words)
      .trim()
      .split(' ')
      .map(Number);
    return bytes / MB / (nanoseconds / 1e9);
  };
  try {
    for (const runtime of runtimes) {
      const words = ['--snapshotter', runtime.snapshotter, image(runtime), named(runtime, 'reader')];
      runtime.ctr('run', '-d', ...words, '/bin/sleep', '3600');
    }
    for (const cold of [true, false]) {
      const subjects = runtimes.map((runtime) => ({
        name: runtime.name,
        kind: runtime.kind,
        run() {
          if (cold) dropCaches();
          return read(runtime);
        },
      }));
      const title = `read all files inside a container, ${cold ? 'after dropping caches' : 'cached'}`;
      await bench.compare(title, subjects, { rounds: bench.rounds(5), unit: 'MB/s' });
    }
  } finally {
    for (const runtime of runtimes) end(runtime, named(runtime, 'reader'));
  }
}
