import { mkdirSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { INIT, Reply, type Caller } from '@layerfs/fuse';
import { errno } from '@layerfs/linux';
import { Stacks, needRoot } from './folders/stacks.test-support.js';
import { UnionFileSystem } from './union-filesystem.js';
import { Upper } from './upper.js';

const ROOT = 1;
const stacks = new Stacks();
afterAll(() => stacks.remove());

function union(readOnly: boolean): UnionFileSystem {
  const upper = stacks.layer({ 'd/of-upper': '' });
  const work = stacks.layer({});
  const lower = stacks.open([stacks.layer({ 'd/of-lower': '', 'e/other': '' })]);
  const fs = new UnionFileSystem(lower, new Upper(upper, work), {
    passthrough: false,
    maxStackDepth: 1,
    volatile: true,
    turns: false,
    readOnly,
  });
  mkdirSync(`${upper}/e`);
  const offered = new Set([INIT.NO_OPENDIR_SUPPORT]);
  fs.ready({ minor: 40, maxWrite: 1 << 20, capabilities: new Set(), offered });
  return fs;
}

function asked(nodeid: number): [Caller, Reply] {
  const reply = new Reply(8192);
  reply.begin(1, 0);
  return [{ uid: 0, gid: 0, pid: 0, nodeid, uniqueLow: 1, uniqueHigh: 0 }, reply];
}

function opened(fs: UnionFileSystem): number {
  const [caller, reply] = asked(ROOT);
  fs.opendir(caller, 0, reply);
  return reply.errno;
}

/** The answer to a listing without a handle, as text. */
function listed(fs: UnionFileSystem, nodeid: number, offset: number): string {
  const [caller, reply] = asked(nodeid);
  fs.readdir(caller, 0, offset, 4096, reply);
  return reply.bytes.toString('latin1', 0, reply.length);
}

function nodeOf(fs: UnionFileSystem, name: string): number {
  const [caller, reply] = asked(ROOT);
  fs.lookup(caller, name, reply);
  return Number(reply.bytes.readBigUInt64LE(16));
}

it('tells the kernel to open folders by itself only where nothing is ever removed', (context) => {
  needRoot(context);
  expect([opened(union(true)), opened(union(false))]).toEqual([errno.ENOSYS, 0]);
});

it('tells listings without a handle apart', (context) => {
  needRoot(context);
  const fs = union(true);
  const [d, e] = [nodeOf(fs, 'd'), nodeOf(fs, 'e')];
  expect(listed(fs, d, 0)).toMatch(/of-lower.*of-upper/s);
  expect(listed(fs, e, 0)).toContain('other');
  // Behind `.`, `..` and the lower's name.
  expect(listed(fs, d, 3)).toMatch(/^(?!.*of-lower).*of-upper/s);
  expect(listed(fs, e, 3)).not.toMatch(/other|of-/);
});
