import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Benchmark from 'benchmark';
import { Attr, Connection, Reply, Request } from '@layerfs/fuse';
import { openStore } from 'layerfs';
import type { Figure } from './harness.js';
import { testImage } from './image.js';

/** Operations of the hot path, in nanoseconds each. */
export async function benchMicro(quick: boolean): Promise<Figure[]> {
  const root = mkdtempSync(join(tmpdir(), 'layerfs-bench-'));
  const store = await openStore({ root });
  try {
    await store.import(testImage('mini'), { name: 'micro' });
    const { tree } = await store.tree('micro');
    const paths = [...tree.walk()].map(({ path }) => path);
    let next = 0;
    const attr = new Attr();
    const connection = new Connection(-1, {
      init: { capabilities: [] },
      getattr: (_caller, _fh, reply) => reply.attr(attr, 60),
    });
    const request = new Request(Buffer.from(new ArrayBuffer(4096)));
    request.bytes.writeUInt32LE(56, 0);
    request.bytes.writeUInt32LE(3, 4);
    const reply = new Reply(4096);
    const block = Buffer.alloc(64 * 1024, 1);
    const cases: Readonly<Record<string, () => void>> = {
      'tree: resolve a path': () => void tree.resolve(paths[next++ % paths.length]),
      'fuse: GETATTR decoded, served and encoded': () => connection.dispatch(request, reply, 56),
      'sha256 of 64 KiB': () => void createHash('sha256').update(block).digest(),
    };
    const figures: Figure[] = [];
    for (const [name, action] of Object.entries(cases)) {
      const bench = new Benchmark(name, action, { maxTime: quick ? 0.2 : 2 });
      bench.run();
      const nanos = bench.stats.mean * 1e9;
      const spread = bench.stats.moe * 1e9;
      figures.push({
        benchmark: `micro: ${name}`,
        subject: 'layerfs',
        unit: 'ns',
        median: nanos,
        minimum: nanos - spread,
        maximum: nanos + spread,
        rounds: bench.stats.sample.length,
      });
    }
    return figures;
  } finally {
    await store.close();
    rmSync(root, { recursive: true, force: true });
  }
}
