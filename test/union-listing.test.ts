/**
 * A listing under way while its folder changes, and while the kernel throws away what it kept of it and goes on with another
 * one: what is there all the time is named once.
 */
import {
  closeSync,
  mkdirSync,
  opendirSync,
  openSync,
  readdirSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tarOf } from './images/tar.js';
import { missing } from './support/needs.js';
import { UnionPlace } from './support/union-place.js';

const reason = missing('root', 'fuse');
if (reason !== undefined) console.warn(`skipped: listings of the writable union: ${reason}`);

/** With such names a few system calls are needed for a listing. */
const COUNT = 3000;
const nameOf = (i: number): string => `${String(i).padStart(5, '0')}-${'long'.repeat(10)}`;
const NAMES = Array.from({ length: COUNT }, (_, i) => nameOf(i));

describe.skipIf(reason !== undefined)('a listing in the writable union', () => {
  const place = new UnionPlace();
  let root = '';
  beforeAll(async () => {
    const file = join(place.folder, 'lower.tar');
    const entries = NAMES.map((name) => ({ name: `lower/${name}`, data: '' }));
    const merged = NAMES.filter((_, i) => i % 3 === 0).map((name) => ({ name: `merged/${name}`, data: '' }));
    const untouched = NAMES.map((name) => ({ name: `untouched/${name}`, data: '' }));
    const folders = ['lower', 'merged', 'untouched'].map((name) => ({ name: `${name}/`, mode: 0o755 }));
    writeFileSync(file, tarOf(...folders, ...entries, ...merged, ...untouched));
    await place.ok(['import', file, '--name', 'lower', '-q']);
    root = await place.rw('lower', 'listing');
    mkdirSync(join(root, 'upper'));
    for (const name of NAMES) closeSync(openSync(join(root, 'upper', name), 'w'));
    // New ones, some in place of what was there, and one changed.
    for (const [i, name] of NAMES.entries()) {
      const path = join(root, 'merged', name);
      if (i % 9 === 0) unlinkSync(path);
      if (i % 3 !== 0 || i % 18 === 0) closeSync(openSync(path, 'w'));
      if (i % 12 === 3) writeFileSync(path, 'changed');
    }
    writeFileSync(join(root, 'lower', nameOf(COUNT)), '');
  });
  afterAll(() => place.remove());

  /** What one sees who reads a folder while `change` happens after the first of it. */
  function seenWhile(folder: string, change: () => void): string[] {
    const dir = opendirSync(folder);
    const seen: string[] = [];
    try {
      seen.push(dir.readSync()!.name);
      change();
      for (let entry = dir.readSync(); entry !== null; entry = dir.readSync()) seen.push(entry.name);
    } finally {
      dir.closeSync();
    }
    return seen;
  }

  const expectOnce = (seen: string[], names: string[]): void => {
    expect(new Set(seen).size).toBe(seen.length);
    const all = new Set(seen);
    expect(names.filter((name) => !all.has(name))).toEqual([]);
  };

  const folders = ['lower', 'upper', 'merged', 'untouched'];
  test.each(folders)('%s: another listing takes the place of the one that the kernel kept', (folder) => {
    const path = join(root, folder);
    const before = readdirSync(path);
    const seen = seenWhile(path, () => {
      writeFileSync(join(path, 'new'), '');
      expect(readdirSync(path)).toHaveLength(before.length + 1);
    });
    expectOnce(seen, before);
    unlinkSync(join(path, 'new'));
  });

  test.each(folders)('%s: names come and go around it', (folder) => {
    const path = join(root, folder);
    const before = readdirSync(path);
    const gone = before.filter((_, i) => i % 5 === 1);
    const moved = before.filter((_, i) => i % 5 === 2);
    const seen = seenWhile(path, () => {
      for (const name of gone) unlinkSync(join(path, name));
      for (const name of moved) renameSync(join(path, name), join(path, `moved-${name}`));
      expect(readdirSync(path)).toHaveLength(before.length - gone.length);
      for (const name of moved) renameSync(join(path, `moved-${name}`), join(path, `${name}-twice`));
    });
    const changed = new Set([...gone, ...moved]);
    expectOnce(
      seen,
      before.filter((name) => !changed.has(name)),
    );
    const left = [...before.filter((name) => !changed.has(name)), ...moved.map((name) => `${name}-twice`)];
    expect(readdirSync(path).toSorted()).toEqual(left.toSorted());
  });
});
