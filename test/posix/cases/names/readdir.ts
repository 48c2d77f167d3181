import { strict as assert } from 'node:assert';
import { readdirSync, rmSync } from 'node:fs';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { Family } from '../../harness/family.js';
import { TYPES, TYPE_BITS, file, folder, make } from '../../harness/fixtures.js';
import { MAKERS } from './makers.js';

export const readdir = new Family('readdir');
const { add } = readdir;
const { O } = sys;

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `entry-${String(i)}`).toSorted();

/** Empty files made fast. */
function fill(at: string, names: readonly string[]): void {
  for (const name of names) sys.mknod(`${at}/${name}`, sys.S.REG | 0o644);
}

/** Reads on in small steps: what lists a folder in one go would hide changes in between. */
function* steps(fd: number, size = 512): Generator<string[]> {
  for (;;) {
    const some = sys.getdents(fd, size);
    if (some.length === 0) return;
    yield some.map(({ name }) => name).filter((name) => name !== '.' && name !== '..');
  }
}

add('lists . and .. once, also of an empty folder', { prepare: () => (folder('d'), folder('e'), file('e/x')) }, () => {
  for (const [name, count] of [
    ['d', 2],
    ['e', 3],
    ['.', 4],
  ] as const) {
    const entries = sys.readdir(name).map(({ name }) => name);
    assert.equal(entries.length, count);
    for (const dots of ['.', '..']) assert.equal(entries.filter((name) => name === dots).length, 1);
  }
});

add(
  'shows types and inode numbers as stat does',
  { root: true, prepare: () => TYPES.forEach((type) => make(type, type)) },
  () => {
    for (const maker of MAKERS) maker.make(`new ${maker.what}`, 0o644);
    for (const { name, type, ino } of sys.readdir('.')) {
      if (name === '..') continue;
      const s = sys.lstat(name);
      assert.ok(type === 0 || type === s.type >> 12, `type of ${name}`);
      assert.equal(ino, s.ino, `inode number of ${name}`);
    }
    assert.equal(sys.lstat('fifo').type, TYPE_BITS.fifo);
  },
);

add('shows the inode number of .. as stat does', { prepare: () => (folder('d'), folder('d/e')) }, () => {
  const up = sys.readdir('d/e').find(({ name }) => name === '..');
  assert.equal(up?.ino, sys.stat('d').ino);
});

add('lists 5,000 entries once each', { prepare: () => (folder('d'), fill('d', numbered(5000))) }, () => {
  assert.deepEqual(sys.names('d'), numbered(5000));
  sys.withFd('d', O.RDONLY, (fd) => {
    const seen = [...steps(fd, 4096)].flat();
    assert.equal(seen.length, 5000);
    assert.equal(new Set(seen).size, 5000);
  });
});

add(
  'lists what was removed, added and moved in between',
  { prepare: () => (folder('d'), fill('d', numbered(300))) },
  () => {
    for (let i = 0; i < 300; i += 3) sys.unlink(`d/entry-${String(i)}`);
    fill('d', ['a', 'b', 'entry-0']);
    sys.rename('d/entry-1', 'd/c');
    sys.rename('d/entry-2', 'e');
    const wanted = new Set(numbered(300).filter((name) => Number(name.slice(6)) % 3 !== 0));
    for (const name of ['a', 'b', 'c', 'entry-0']) wanted.add(name);
    for (const name of ['entry-1', 'entry-2']) wanted.delete(name);
    assert.deepEqual(sys.names('d'), [...wanted].toSorted());
  },
);

add(
  'while entries are removed, lists those that stay once',
  { prepare: () => (folder('d'), fill('d', numbered(400))) },
  () => {
    const seen: string[] = [];
    sys.withFd('d', O.RDONLY, (fd) => {
      for (const some of steps(fd)) {
        seen.push(...some);
        // Of what was just listed every second one goes.
        for (const name of some) if (Number(name.slice(6)) % 2 === 0) sys.unlink(`d/${name}`);
      }
    });
    assert.equal(new Set(seen).size, seen.length, 'no entry twice');
    assert.equal(seen.length, 400);
    assert.deepEqual(
      sys.names('d'),
      numbered(400).filter((name) => Number(name.slice(6)) % 2 === 1),
    );
  },
);

add(
  'while entries are added, lists those that were there once',
  { prepare: () => (folder('d'), fill('d', numbered(400))) },
  () => {
    const seen: string[] = [];
    let added = 0;
    sys.withFd('d', O.RDONLY, (fd) => {
      for (const some of steps(fd)) {
        seen.push(...some);
        // Bounded: entries may show, and so keep the loop going.
        if (added < 200) fill('d', [`new-${String(added++)}`]);
      }
    });
    const old = seen.filter((name) => name.startsWith('entry-'));
    assert.deepEqual(old.toSorted(), numbered(400));
    assert.equal(new Set(seen).size, seen.length, 'no entry twice');
  },
);

add('a folder can be emptied while it is listed', { prepare: () => (folder('d'), fill('d', numbered(400))) }, () => {
  sys.withFd('d', O.RDONLY, (fd) => {
    for (const some of steps(fd, 2048)) for (const name of some) sys.unlink(`d/${name}`);
  });
  sys.rmdir('d');
});

add(
  'starts again at the beginning, with what is there now',
  { prepare: () => (folder('d'), fill('d', numbered(50))) },
  () => {
    sys.withFd('d', O.RDONLY, (fd) => {
      assert.equal([...steps(fd)].flat().length, 50);
      fill('d', ['new']);
      sys.unlink('d/entry-7');
      content.lseek(fd, 0, content.SEEK.SET);
      const again = [...steps(fd)].flat();
      assert.deepEqual([again.length, again.includes('new'), again.includes('entry-7')], [50, true, false]);
    });
  },
);

add(
  'a tree is removed as rm -r does it',
  {
    prepare: () => {
      folder('d');
      for (const a of ['a', 'b', 'c']) {
        folder(`d/${a}`);
        for (const b of ['x', 'y', 'z']) {
          folder(`d/${a}/${b}`);
          fill(`d/${a}/${b}`, numbered(20));
        }
      }
    },
  },
  () => {
    rmSync('d', { recursive: true });
    assert.deepEqual(readdirSync('.'), []);
    sys.mkdir('d');
    assert.deepEqual(sys.names('d'), []);
  },
);
