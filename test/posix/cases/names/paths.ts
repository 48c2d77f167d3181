import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser } from '../../harness/users.js';
import * as xattrs from '../../harness/xattrs.js';
import { MAKERS } from './makers.js';

/** How each call that takes a path fails on paths that lead nowhere. */
export const paths = new Family('paths');
const { add } = paths;
const { O } = sys;

interface PathCall {
  readonly what: string;
  readonly call: (path: string) => unknown;
  /** The call makes this name: a missing one is what it wants. */
  readonly makes?: boolean;
  readonly root?: boolean;
}

const CALLS: readonly PathCall[] = [
  { what: 'open', call: (p) => sys.open(p, O.RDONLY) },
  { what: 'open with O_TRUNC', call: (p) => sys.open(p, O.WRONLY | O.TRUNC) },
  { what: 'open with O_PATH', call: (p) => sys.open(p, O.PATH) },
  { what: 'open with O_CREAT', call: (p) => sys.open(p, O.WRONLY | O.CREAT, 0o644), makes: true },
  { what: 'stat', call: sys.stat },
  { what: 'lstat', call: sys.lstat },
  { what: 'access', call: (p) => sys.access(p, 0) },
  { what: 'chmod', call: (p) => sys.chmod(p, 0o644) },
  { what: 'chown', call: (p) => sys.chown(p, -1, -1) },
  { what: 'lchown', call: (p) => sys.lchown(p, -1, -1) },
  { what: 'utimensat', call: (p) => sys.utimens(p, 1n, 1n) },
  { what: 'truncate', call: (p) => content.truncate(p, 1) },
  { what: 'readlink', call: (p) => sys.readlink(p) },
  { what: 'chdir', call: sys.chdir },
  { what: 'unlink', call: sys.unlink },
  { what: 'rmdir', call: sys.rmdir },
  { what: 'rename from', call: (p) => sys.rename(p, 'to') },
  { what: 'rename to', call: (p) => sys.rename('source', p), makes: true },
  { what: 'exchange with', call: (p) => sys.rename('source', p, 2) },
  { what: 'link from', call: (p) => sys.link(p, 'to') },
  { what: 'link to', call: (p) => sys.link('source', p), makes: true },
  { what: 'getxattr', call: (p) => xattrs.getxattr(p, 'user.a') },
  { what: 'setxattr', call: (p) => xattrs.setxattr(p, 'user.a', '1') },
  { what: 'listxattr', call: (p) => xattrs.listxattr(p) },
  { what: 'removexattr', call: (p) => xattrs.removexattr(p, 'user.a') },
  ...MAKERS.filter(({ what }) => what !== 'open').map(({ what, make, root }) => ({
    what,
    call: (p: string) => make(p, 0o644),
    makes: true,
    root,
  })),
];

function prepare(): void {
  // A stranger must be able to act on it, so that only the path can be at fault.
  file('source', { owner: OTHER, mode: 0o666 });
  file('file', { mode: 0o666 });
  sys.mkfifo('pipe');
  sys.symlink('b', 'a');
  sys.symlink('a', 'b');
  sys.symlink('file', 'link');
  folder('closed', { owner: OWNER, mode: 0o700 });
  file('closed/x', { owner: OWNER, mode: 0o777 });
  folder('open');
}

const LONG = 'n'.repeat(256);
/** 4096 bytes, of names that are none too long, and 4095: with the closing NUL that is all that fits. */
const PATH_4096 = `./${'z/'.repeat(2047)}`;
assert.equal(PATH_4096.length, 4096);

for (const { what, call, makes, root } of CALLS) {
  add(`${what}: ENOTDIR below what is no folder`, { root: true, prepare }, () => {
    for (const path of ['file/x', 'pipe/x', 'link/x', 'file/', 'file/.', 'file/x/y']) {
      // A slash behind the new name is refused in ways of its own.
      if (path === 'file/' && makes === true) continue;
      expectErrno('ENOTDIR', () => call(path), path);
    }
  });
  add(`${what}: ENOENT below what is not there`, { root: true, prepare }, () => {
    for (const path of ['', 'no/x', 'open/no/x', ...(makes === true ? [] : ['no', 'open/no', 'no/'])]) {
      expectErrno('ENOENT', () => call(path), JSON.stringify(path));
    }
  });
  add(`${what}: ELOOP below links in a ring`, { root: true, prepare }, () => {
    for (const path of ['a/x', 'b/x/y']) expectErrno('ELOOP', () => call(path), path);
  });
  add(`${what}: ENAMETOOLONG for a name of 256 bytes`, { root: true, prepare }, () => {
    for (const path of [LONG, `${LONG}/x`, `open/${LONG}`]) expectErrno('ENAMETOOLONG', () => call(path), 'name');
  });
  add(`${what}: ENAMETOOLONG for a path of 4096 bytes, not for one of 4095`, { root: true, prepare }, () => {
    expectErrno('ENAMETOOLONG', () => call(PATH_4096));
    expectErrno('ENOENT', () => call(PATH_4096.slice(0, 4095)));
  });
  if (root !== true) {
    add(`${what}: EACCES below a folder one may not search`, { root: true, prepare }, () => {
      asUser(OTHER, () => {
        for (const path of ['closed/x', 'closed/no', 'closed/no/x']) expectErrno('EACCES', () => call(path), path);
      });
    });
  }
}

const NAMES = [
  'é'.repeat(100),
  '.hidden',
  '...',
  ' ',
  '\n',
  '-rf',
  '*?[',
  '\\',
  '\'"',
  'a:b',
  '%s',
  '.wh',
  'wh.x',
  '~',
  '日本語',
];

add('names may be of any bytes but slash and NUL', { prepare: () => NAMES.forEach((name) => file(name)) }, () => {
  assert.deepEqual(sys.names(), NAMES.map((name) => Buffer.from(name).toString('latin1')).toSorted());
  for (const name of NAMES) {
    assert.equal(content.readFile(name), 'content\n');
    sys.rename(name, 'moved');
    sys.mkdir(name);
    sys.rename('moved', `${name}/inside`);
    assert.equal(sys.stat(`${name}/inside`).size, 8);
  }
});

add('names need not be UTF-8', { prepare: () => sys.mkdir(Buffer.from('\xff\xfe\x80', 'latin1')) }, () => {
  assert.deepEqual(sys.names(), ['\xff\xfe\x80']);
  const bytes = Buffer.from('\xff\xfe\x80/\xc3\x28', 'latin1');
  sys.symlink('x', bytes);
  assert.equal(sys.readlink(bytes), 'x');
  sys.rename(bytes, Buffer.from([0xe9]));
  assert.deepEqual(sys.names(), ['\xe9', '\xff\xfe\x80']);
});

add('names of 255 bytes do all that others do', { prepare: () => file('y'.repeat(255)) }, () => {
  const [x, y, z] = ['x', 'y', 'z'].map((letter) => letter.repeat(255));
  sys.mkdir(x);
  sys.link(y, `${x}/${z}`);
  sys.rename(y, z);
  sys.rename(z, y, 1);
  sys.unlink(y);
  sys.symlink(z, y);
  assert.equal(sys.readlink(y), z);
  sys.mkfifo(z);
  assert.deepEqual(sys.names(), [x, y, z]);
  assert.deepEqual(sys.names(x), [z]);
});

add('upper and lower case are different', { prepare: () => (file('name'), file('NAME', { content: 'other' })) }, () => {
  assert.notEqual(sys.stat('name').ino, sys.stat('NAME').ino);
  sys.unlink('name');
  assert.deepEqual(sys.names(), ['NAME']);
  expectErrno('ENOENT', () => sys.stat('Name'));
});

add('names that Unicode holds equal are different', { prepare: () => (file('\u00e9'), file('e\u0301')) }, () => {
  assert.equal(sys.names().length, 2);
});

add('folders may lie deeper than a path is long', {}, () => {
  const name = 'd'.repeat(200);
  const depth = 30;
  sys.withFd('.', O.RDONLY, (back) => {
    try {
      for (let i = 0; i < depth; i++) {
        sys.mkdir(name);
        sys.chdir(name);
      }
      file('x');
      assert.equal(content.readFile('x'), 'content\n');
      sys.unlink('x');
      for (let i = 0; i < depth; i++) {
        sys.chdir('..');
        sys.rmdir(name);
      }
    } finally {
      sys.fchdir(back);
    }
  });
  assert.deepEqual(sys.names(), []);
});

add('.. of a moved folder is the new parent', { prepare: () => (folder('a'), folder('b'), folder('a/x')) }, () => {
  sys.withFd('a/x', O.RDONLY | O.DIRECTORY, (fd) => {
    sys.rename('a/x', 'b/y');
    assert.equal(sys.stat('b/y/..').ino, sys.stat('b').ino);
    const up = sys.openat(fd, '..', O.RDONLY);
    assert.equal(sys.fstat(up).ino, sys.stat('b').ino);
    sys.close(up);
    sys.close(sys.openat(fd, 'new', O.CREAT | O.WRONLY, 0o644));
  });
  assert.deepEqual(sys.names('b/y'), ['new']);
});
