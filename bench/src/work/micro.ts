import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Benchmarkjs from 'benchmark';
import { Attr, Connection, Reply, Request } from '@layerfs/fuse';
import { openStore } from 'layerfs';
import { testImage } from '../data/images.js';
import type { Benchmark } from '../harness/bench.js';

/** Operations of the hot path, in nanoseconds each. */
export const micro: Benchmark = {
  name: 'micro',
  about: 'operations of the hot path that run in JavaScript, in nanoseconds each',
  needsRoot: false,
  async run(bench) {
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
      for (const [name, action] of Object.entries(cases)) {
        const run = new Benchmarkjs(name, action, { maxTime: bench.quick ? 0.2 : 2 });
        run.run();
        const values = run.stats.sample.map((seconds) => seconds * 1e9);
        bench.add(name, { subject: 'layerfs', kind: 'ours', unit: 'ns', values });
      }
    } finally {
      await store.close();
      rmSync(root, { recursive: true, force: true });
    }
  },
};
