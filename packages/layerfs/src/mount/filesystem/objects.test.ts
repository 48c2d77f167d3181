import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { close, preadRaw } from '@layerfs/linux';
import xxhash from 'xxhash-wasm';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { TreeBuilder } from '../../core/tree/builder.js';
import { Tree } from '../../core/tree/tree.js';
import { ObjectFolder, objectName, openFolder, type ObjectProblem } from './objects.js';
import { LONGEST_RANGE } from './read-ahead.js';

const hash = await xxhash();
const COUNT = 400;
const MISSING = 5;
const DAMAGED = 6;

let path: string;
let tree: Tree;
let problems: ObjectProblem[];
let folder: ObjectFolder;
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'layerfs-objects-'));
  const builder = new TreeBuilder();
  for (let i = 0; i < COUNT; i++) {
    const digest = new Uint8Array(32);
    new DataView(digest.buffer).setUint32(0, i);
    builder.addObject(digest);
    const ino = builder.addInode({ mode: 0o100644, uid: 0, gid: 0, mtimeSec: 0 });
    builder.setContent(ino, i, 4);
    builder.link(1, String(i).padStart(4, '0'), ino);
  }
  tree = Tree.open(builder.finish({ layers: [new Uint8Array(32)], hash }));
  mkdirSync(join(path, '00'));
  for (let i = 0; i < COUNT; i++) if (i !== MISSING) writeFileSync(place(i), content(i));
  problems = [];
  folder = new ObjectFolder(openFolder(path), tree, (problem) => problems.push(problem));
});
afterEach(() => {
  folder.close();
  rmSync(path, { recursive: true });
});

const place = (index: number): string => join(path, objectName(tree.digestAt(index)));
const content = (index: number): string => (index === DAMAGED ? 'no' : String(index).padStart(4, '0'));

function read(index: number): string {
  const fd = folder.open(index, 4);
  const bytes = Buffer.alloc(4);
  preadRaw(fd, bytes, 4, 0);
  close(fd);
  return bytes.toString();
}

/** Names of the objects that this process has open. */
function open(): string[] {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return targets.filter((target) => target.startsWith(`${path}/00/`)).toSorted();
}

it('has the next objects open when they are wanted, and not for longer', () => {
  for (const index of [100, 101]) read(index);
  expect(folder.readAhead()).toBe(false);
  read(102);
  while (folder.readAhead());
  expect(open()).toEqual(Array.from({ length: 16 }, (_, i) => place(103 + i)));
  // What is open already needs no name.
  rmSync(place(103));
  expect(read(103)).toBe('0103');
  expect(open()).not.toContain(place(103));
  expect(() => read(103)).toThrow('EIO');
  folder.close();
  expect(open()).toEqual([]);
  folder = new ObjectFolder(openFolder(path), tree, () => undefined);
});

it('never has more than so many open, whoever reads', () => {
  let most = 0;
  for (let i = 10; i < COUNT / 2; i++) {
    for (const index of [i, COUNT / 2 + i - 10]) {
      expect(read(index)).toBe(content(index));
      while (folder.readAhead());
      most = Math.max(most, open().length);
    }
  }
  expect(most).toBe(LONGEST_RANGE);
});

it('tells of missing and damaged objects those who read them, nobody else', () => {
  for (const index of [0, 1, 2]) read(index);
  while (folder.readAhead());
  expect(problems).toEqual([]);
  expect(() => read(MISSING)).toThrow('EIO');
  expect(() => read(DAMAGED)).toThrow('EIO');
  expect(read(7)).toBe('0007');
  expect(problems.map(({ problem }) => problem)).toEqual(['cannot be opened (ENOENT)', 'has 2 bytes, should have 4']);
});

it('takes the object that a name leads to when it was opened a while ago, and closes what nobody comes for', () => {
  const now = vi.spyOn(performance, 'now');
  for (const index of [100, 101, 102]) read(index);
  while (folder.readAhead());
  // Repaired, say.
  rmSync(place(103));
  writeFileSync(place(103), 'new!');
  rmSync(place(104));
  writeFileSync(place(104), 'new!');
  expect(read(103)).toBe('0103');
  now.mockReturnValue(performance.now() + 1000);
  expect(read(104)).toBe('new!');
  now.mockRestore();
  expect(open()).toEqual(Array.from({ length: 14 }, (_, i) => place(105 + i)));
  folder.rest();
  expect(open()).toEqual([]);
  expect(read(105)).toBe('0105');
});
