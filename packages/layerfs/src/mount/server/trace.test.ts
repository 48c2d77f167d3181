import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import xxhash from 'xxhash-wasm';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TreeBuilder } from '../../core/tree/builder.js';
import { Tree } from '../../core/tree/tree.js';
import { TraceFile } from './trace.js';

const hash = await xxhash();
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-trace-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('writes a line for each request, with the path of its inode, in one column each', () => {
  const builder = new TreeBuilder();
  const inner = builder.addInode({ mode: 0o040755, uid: 0, gid: 0, mtimeSec: 0 });
  builder.link(1, 'a\tb', inner);
  builder.link(inner, 'file', builder.addInode({ mode: 0o100644, uid: 0, gid: 0, mtimeSec: 0 }));
  const tree = Tree.open(builder.finish({ layers: [new Uint8Array(32)], hash }));
  const trace = new TraceFile(join(folder, 'trace'), tree);
  const served = { micros: 12.34, errno: 0, bytes: 144 };
  trace.record({ ...served, opcode: 'LOOKUP', nodeid: tree.resolve('a\tb'), name: 'no\nne' });
  trace.record({ ...served, opcode: 'OPEN', nodeid: tree.resolve('a\tb/file'), name: undefined, errno: 30 });
  trace.record({ ...served, opcode: 'LOOKUP', nodeid: 1, name: 'x' });
  trace.record({ ...served, opcode: 'GETATTR', nodeid: 99, name: undefined });
  trace.close();
  const lines = readFileSync(join(folder, 'trace'), 'utf8').trimEnd().split('\n');
  expect(lines[0]).toBe('# time\topcode\tnodeid\tpath\tmicros\tresult\tbytes');
  const rows = lines.slice(1).map((line) => line.split('\t'));
  expect(rows.map((row) => row.slice(3))).toEqual([
    [String.raw`/a\x09b/no\x0ane`, '12.3', 'ok', '144'],
    [String.raw`/a\x09b/file`, '12.3', 'EROFS', '144'],
    ['/x', '12.3', 'ok', '144'],
    ['?', '12.3', 'ok', '144'],
  ]);
  expect(rows.every(([time]) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(time))).toBe(true);
});
