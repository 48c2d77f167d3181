import { strict as assert } from 'node:assert';
import { statfsSync } from 'node:fs';
import * as sys from '../../harness/calls.js';
import { expectErrno, expectMode, expectRecent } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { TYPES, TYPE_BITS, file, folder, make } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser } from '../../harness/users.js';

export const stat = new Family('stat');
const { add } = stat;

for (const type of TYPES) {
  add(
    `shows type, mode, owner, links and size of a ${type}`,
    { root: true, prepare: () => make(type, 'x', OWNER) },
    () => {
      const s = sys.lstat('x');
      assert.equal(s.type, TYPE_BITS[type]);
      expectMode(s.perm, type === 'symlink' ? 0o777 : type === 'folder' ? 0o755 : 0o644);
      assert.deepEqual([s.uid, s.gid], [OWNER.uid, OWNER.gid]);
      if (type === 'file') assert.equal(s.size, 8);
      if (type === 'symlink') assert.equal(s.size, 'no-such-target'.length);
      if (type === 'fifo') assert.equal(s.size, 0);
      if (type === 'char' || type === 'block') assert.equal(s.rdev, '1:3');
      if (type !== 'folder') assert.equal(s.nlink, 1);
    },
  );
  add(`keeps the inode number of a ${type} through changes`, { root: true, prepare: () => make(type, 'x') }, () => {
    const { ino, device } = sys.lstat('x');
    sys.lchown('x', 5, 5);
    assert.deepEqual([sys.lstat('x').ino, sys.lstat('x').device], [ino, device]);
    sys.rename('x', 'y');
    assert.deepEqual([sys.lstat('y').ino, sys.lstat('y').device], [ino, device]);
  });
}

add('follows links, lstat does not', { prepare: () => (file('x'), sys.symlink('x', 'link')) }, () => {
  assert.equal(sys.stat('link').ino, sys.stat('x').ino);
  assert.notEqual(sys.lstat('link').ino, sys.stat('x').ino);
  sys.withFd('link', sys.O.RDONLY, (fd) => assert.equal(sys.fstat(fd).ino, sys.stat('x').ino));
  sys.withFd('link', sys.O.PATH | sys.O.NOFOLLOW, (fd) => assert.equal(sys.fstat(fd).type, sys.S.LNK));
});

add('has a birth time', {}, () => {
  file('x');
  const { btime } = sys.stat('x');
  if (btime === undefined) throw new Skip('this filesystem keeps no birth times');
  expectRecent(btime, 'birth');
});

add('has a birth time that no change moves', { prepare: () => file('x') }, () => {
  const { btime } = sys.stat('x');
  if (btime === undefined) throw new Skip('this filesystem keeps no birth times');
  sys.utimens('x', 1n, 1n);
  sys.chmod('x', 0o600);
  assert.equal(sys.stat('x').btime, btime);
});

add(
  'gives different files different inode numbers',
  { prepare: () => TYPES.slice(0, 3).forEach((t) => make(t, t)) },
  () => {
    file('new');
    const inos = [...TYPES.slice(0, 3), 'new', '.'].map((name) => sys.lstat(name).ino);
    assert.equal(new Set(inos).size, inos.length);
  },
);

add('gives all of a folder one device number', { prepare: () => (file('x'), folder('d'), file('d/y')) }, () => {
  file('new');
  const devices = ['x', 'd', 'd/y', 'new', '.'].map((name) => sys.lstat(name).device);
  assert.equal(new Set(devices).size, 1);
});

add('counts blocks of 512 bytes', { prepare: () => file('x', { content: 'x'.repeat(10_000) }) }, () => {
  const { blocks } = sys.stat('x');
  assert.ok(blocks >= 19 && blocks <= 64, `${String(blocks)} blocks`);
});

add(
  'counts folders as links of their parent',
  { prepare: () => (folder('d'), folder('d/a'), folder('d/b'), file('d/c')) },
  () => {
    const { nlink } = sys.stat('d');
    if (nlink === 1) throw new Skip('this filesystem does not count the links of folders');
    assert.equal(nlink, 4);
    sys.mkdir('d/e');
    assert.equal(sys.stat('d').nlink, 5);
    sys.rmdir('d/a');
    assert.equal(sys.stat('d').nlink, 4);
    sys.rename('d/b', 'b');
    assert.equal(sys.stat('d').nlink, 3);
  },
);

add(
  'needs no right to the file but to search the path',
  {
    root: true,
    prepare: () => {
      folder('d', { owner: OWNER, mode: 0o700 });
      file('d/x', { owner: OWNER, mode: 0 });
      file('x', { owner: OWNER, mode: 0 });
    },
  },
  () => {
    asUser(OTHER, () => {
      assert.equal(sys.stat('x').size, 8);
      expectErrno('EACCES', () => sys.stat('d/x'));
      expectErrno('EACCES', () => sys.lstat('d/nothing'));
      assert.equal(sys.stat('d').uid, OWNER.uid);
    });
  },
);

add('statfs tells sizes, and names up to 255 bytes', { prepare: () => file('x') }, () => {
  const s = statfsSync('x');
  assert.ok(s.bsize >= 512 && s.blocks > 0 && s.bfree > 0 && s.bfree <= s.blocks && s.bavail <= s.bfree);
});
