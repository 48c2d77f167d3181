import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ErrnoError, errno } from '@layerfs/linux';
import xxhash from 'xxhash-wasm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TreeBuilder } from '../../core/tree/builder.js';
import { Tree } from '../../core/tree/tree.js';
import { BackingPool, type BackingIds } from './backing.js';
import { ObjectFolder, openFolder, type ObjectProblem } from './objects.js';

const hash = await xxhash();

class FakeKernel implements BackingIds {
  next = 1;
  refuse = false;
  readonly alive = new Set<number>();
  open(): number {
    if (this.refuse) throw new ErrnoError(errno.EMFILE, 'ioctl');
    this.alive.add(this.next);
    return this.next++;
  }
  close(id: number): void {
    if (!this.alive.delete(id)) throw new Error(`closed ${String(id)} twice`);
  }
}

describe('BackingPool', () => {
  let path: string;
  let kernel: FakeKernel;
  let problems: ObjectProblem[];
  let folder: ObjectFolder;
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'layerfs-backing-'));
    const builder = new TreeBuilder();
    // Objects 0 to 4; the last is missing.
    for (let i = 0; i < 5; i++) {
      const digest = new Uint8Array(32).fill(i + 1);
      builder.addObject(digest);
      const ino = builder.addInode({ mode: 0o100644, uid: 0, gid: 0, mtimeSec: 0 });
      builder.setContent(ino, i, 1);
      builder.link(1, `f${String(i)}`, ino);
      const hex = `0${String(i + 1)}`;
      mkdirSync(join(path, hex));
      if (i < 4) writeFileSync(join(path, hex, hex.repeat(31)), 'x');
    }
    const tree = Tree.open(builder.finish({ layers: [new Uint8Array(32)], hash }));
    kernel = new FakeKernel();
    problems = [];
    folder = new ObjectFolder(openFolder(path), tree, (problem) => problems.push(problem));
  });
  afterEach(() => {
    folder.close();
    rmSync(path, { recursive: true });
  });

  it('gives all opens of an object that live at one time the same id', () => {
    const pool = new BackingPool(folder, kernel, 2);
    const id = pool.acquire(0, 1);
    expect(pool.acquire(0, 1)).toBe(id);
    expect(pool.acquire(1, 1)).not.toBe(id);
    pool.release(0);
    expect(pool.acquire(0, 1)).toBe(id);
    expect(kernel.alive.size).toBe(2);
  });

  it('keeps ids for a next open, and closes the longest unused beyond the limit', () => {
    const pool = new BackingPool(folder, kernel, 2);
    const ids = [0, 1, 2].map((object) => pool.acquire(object, 1));
    for (const object of [0, 1, 2]) pool.release(object);
    expect([...kernel.alive]).toEqual([ids[1], ids[2]]);
    expect(pool.acquire(2, 1)).toBe(ids[2]);
    expect(pool.acquire(0, 1)).toBe(4);
    expect(pool.size).toBe(2);
  });

  it('opens an object without passthrough while the kernel refuses, and stays with that until all are closed', () => {
    const pool = new BackingPool(folder, kernel, 2);
    kernel.refuse = true;
    expect(pool.acquire(0, 1)).toBe(0);
    kernel.refuse = false;
    expect(pool.acquire(0, 1)).toBe(0);
    pool.release(0);
    pool.release(0);
    expect(pool.acquire(0, 1)).toBe(1);
  });

  it('reports a missing object once, by digest, and one of another length', () => {
    const pool = new BackingPool(folder, kernel, 2);
    for (let i = 0; i < 2; i++) expect(() => pool.acquire(4, 1)).toThrow('EIO');
    expect(() => pool.acquire(3, 2)).toThrow('EIO');
    expect(problems).toEqual([
      { object: '05'.repeat(32), problem: 'cannot be opened (ENOENT)' },
      { object: '04'.repeat(32), problem: 'has 1 bytes, should have 2' },
    ]);
    expect(pool.size).toBe(0);
  });

  it('bears a release too many', () => {
    const pool = new BackingPool(folder, kernel, 2);
    pool.release(0);
    expect(pool.acquire(0, 1)).toBe(1);
  });
});
