/** What many containers, and many tags of an image, take. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { testImage } from '../data/images.js';
import { NoUpgrades } from '../data/upgrades.js';
import type { Area } from '../harness/area.js';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { memoryOf, run } from '../harness/programs.js';
import { turn } from '../harness/release.js';
import { startRuntimes, type Runtime } from '../peers/runtimes.js';
import { end, image, named, REPOSITORY } from './container.js';
import { usage } from './disk.js';
import { baseLayer } from './import.js';

const MB = 1e6;

/** Disk and memory under containerd. */
export const manyContainers: Benchmark = {
  name: 'containers',
  about: 'containerd on layerfs and overlayfs: disk and memory of 100 containers, disk of ten tags',
  needsRoot: true,
  async run(bench) {
    if (!['containerd', 'ctr', 'runc'].every((program) => bench.has(program))) return;
    await inArea(bench, bench.quick ? 8 : 60, async (area) => {
      await withRuntimes(area, async (runtimes) => {
        const { archive } = baseLayer(testImage('debian', 'multi'), area.make('source'));
        for (const runtime of runtimes) {
          const { snapshotter } = runtime;
          runtime.ctr('image', 'import', '--snapshotter', snapshotter, '--base-name', REPOSITORY, archive);
          await runtime.settled();
        }
        run('sync');
        await many(bench, runtimes);
      });
      await withRuntimes(area, (runtimes) => tags(bench, area, runtimes));
    });
  },
};

async function withRuntimes(area: Area, action: (runtimes: readonly Runtime[]) => Promise<void>): Promise<void> {
  const runtimes = await startRuntimes(area);
  try {
    await action(runtimes);
  } finally {
    for (const runtime of runtimes) await runtime.stop();
  }
}

/** Many containers that stay: what the disk and the machine's memory pay for them. */
async function many(bench: Bench, runtimes: readonly Runtime[]): Promise<void> {
  const count = bench.quick ? 5 : 100;
  for (const runtime of runtimes) {
    const { name, kind, snapshotter } = runtime;
    const disk = usage(runtime.folder);
    const memory = available();
    const names = Array.from({ length: count }, (_, i) => named(runtime, `many${i}`));
    try {
      for (const each of names) {
        await turn();
        const script = 'cat /usr/bin/* /usr/lib/*/*.so* > /dev/null; exec sleep 3600';
        runtime.ctr('run', '-d', '--snapshotter', snapshotter, image(runtime), each, '/bin/sh', '-c', script);
      }
      run('sync');
      const used = memory - available();
      bench.once(`disk of ${count} containers`, name, kind, 'MB', (usage(runtime.folder) - disk) / MB);
      bench.once(`memory of the machine for ${count} containers`, name, kind, 'MB', used / MB);
      const own = runtime.pids.reduce((sum, pid) => sum + memoryOf(pid).rss, 0);
      bench.once(`memory of containerd and snapshotter with ${count} containers`, name, kind, 'MB', own);
    } finally {
      for (const each of names) end(runtime, each);
    }
  }
}

/** Bytes that programs could have without swapping. */
function available(): number {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024;
}

/** Versions of one image, all unpacked, in snapshotters that have nothing else. */
async function tags(bench: Bench, area: Area, runtimes: readonly Runtime[]): Promise<void> {
  try {
    const { layout, tags: names } = await bench.data.tags(bench.quick);
    const archive = join(area.folder, 'tags.tar');
    run('tar', '-C', layout, '-cf', archive, '.');
    for (const runtime of runtimes) {
      runtime.ctr('image', 'import', '--snapshotter', runtime.snapshotter, '--base-name', 'tags', archive);
      await runtime.settled();
      const title = `disk of ${names.length} tags, unpacked by containerd`;
      bench.once(title, runtime.name, runtime.kind, 'MB', usage(runtime.folder) / MB);
    }
  } catch (error) {
    if (!(error instanceof NoUpgrades)) throw error;
    bench.say(`tags are left out: ${error.message}`);
  }
}
