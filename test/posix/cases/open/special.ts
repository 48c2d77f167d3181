import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno, expectMode, outcome, unlessUnsupported } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser, withUmask } from '../../harness/users.js';

export const openSpecial = new Family('open of');
const { add } = openSpecial;
const { O } = sys;

const pipe = (): void => sys.mkfifo('p', 0o644);

add('a FIFO for writing without a reader is ENXIO', { prepare: pipe }, () => {
  expectErrno('ENXIO', () => sys.open('p', O.WRONLY | O.NONBLOCK));
});

add('a FIFO passes bytes from writer to reader', { prepare: pipe }, () => {
  sys.withFd('p', O.RDONLY | O.NONBLOCK, (reader) => {
    assert.equal(content.read(reader, 10), '');
    sys.withFd('p', O.WRONLY | O.NONBLOCK, (writer) => {
      expectErrno('EAGAIN', () => content.read(reader, 10));
      content.write(writer, 'through');
      assert.equal(content.read(reader, 10), 'through');
      expectErrno('ESPIPE', () => content.lseek(writer, 0, 0));
    });
    assert.equal(content.read(reader, 10), '');
  });
  assert.equal(sys.stat('p').size, 0);
});

add('a FIFO goes by its mode', { root: true, prepare: () => sys.mkfifo('p', 0o600) }, () => {
  asUser(OTHER, () => expectErrno('EACCES', () => sys.open('p', O.RDONLY | O.NONBLOCK)));
});

add('two names of a FIFO are one pipe', { prepare: pipe }, () => {
  sys.link('p', 'q');
  sys.withFd('p', O.RDONLY | O.NONBLOCK, (reader) =>
    sys.withFd('q', O.WRONLY | O.NONBLOCK, (writer) => {
      content.write(writer, 'x');
      assert.equal(content.read(reader, 10), 'x');
    }),
  );
});

add(
  '/dev/null by another name',
  { root: true, prepare: () => sys.mknod('null', sys.S.CHR | 0o666, (1 << 8) | 3) },
  () => {
    const got = outcome(() => sys.withFd('null', O.RDWR, () => undefined));
    if (got === 'EACCES') throw new Skip('mounted with nodev');
    asUser(OTHER, () =>
      sys.withFd('null', O.RDWR, (fd) => {
        assert.equal(content.write(fd, 'gone'), 4);
        assert.equal(content.read(fd, 10), '');
      }),
    );
    assert.equal(sys.stat('null').size, 0);
  },
);

add(
  'a device goes by its mode',
  { root: true, prepare: () => sys.mknod('null', sys.S.CHR | 0o600, (1 << 8) | 3) },
  () => {
    asUser(OTHER, () => expectErrno('EACCES', () => sys.open('null', O.RDONLY)));
  },
);

add(
  'a device without a driver is ENXIO',
  { root: true, prepare: () => sys.mknod('none', sys.S.CHR | 0o666, (255 << 8) | 77) },
  () => {
    const got = outcome(() => sys.open('none', O.RDONLY));
    if (got === 'EACCES') throw new Skip('mounted with nodev');
    assert.ok(got === 'ENXIO' || got === 'ENODEV', got);
  },
);

add('a socket is ENXIO', { root: true }, () => {
  sys.mknod('s', sys.S.SOCK | 0o666);
  for (const flags of [O.RDONLY, O.WRONLY, O.RDWR, O.RDONLY | O.NONBLOCK]) {
    expectErrno('ENXIO', () => sys.open('s', flags));
  }
  assert.equal(sys.lstat('s').type, sys.S.SOCK);
});

/** O_TMPFILE, or a skipped case. */
function tmpfile(flags: number, mode = 0o600, at = '.'): number {
  return unlessUnsupported('O_TMPFILE', () => sys.open(at, O.TMPFILE | flags, mode));
}

add('a nameless file: no name, no link, usable', {}, () => {
  const fd = tmpfile(O.RDWR);
  content.write(fd, 'nameless');
  assert.equal(content.pread(fd, 10, 0), 'nameless');
  const s = sys.fstat(fd);
  assert.deepEqual([s.nlink, s.size, s.type], [0, 8, sys.S.REG]);
  content.ftruncate(fd, 4);
  sys.fchmod(fd, 0o640);
  assert.deepEqual([sys.fstat(fd).size, sys.fstat(fd).perm], [4, 0o640]);
  assert.deepEqual(sys.names(), []);
  sys.close(fd);
});

add('a nameless file in a folder that was prepared', { prepare: () => folder('d') }, () => {
  const fd = tmpfile(O.RDWR, 0o600, 'd');
  content.write(fd, 'nameless');
  sys.linkFd(fd, 'd/x');
  sys.close(fd);
  assert.equal(content.readFile('d/x'), 'nameless');
});

add('a nameless file that gets a name', { root: true }, () => {
  const fd = tmpfile(O.WRONLY);
  content.write(fd, 'named');
  sys.linkFd(fd, 'x');
  assert.equal(sys.fstat(fd).nlink, 1);
  content.write(fd, ' later');
  sys.close(fd);
  assert.equal(content.readFile('x'), 'named later');
});

add('a nameless file that gets a name through /proc, as users do it', { root: true }, () => {
  asUser(OWNER, () => {
    const fd = tmpfile(O.RDWR);
    content.write(fd, 'named');
    sys.link(`/proc/self/fd/${String(fd)}`, 'x', 0x400);
    sys.close(fd);
  });
  assert.deepEqual([content.readFile('x'), sys.stat('x').uid], ['named', OWNER.uid]);
});

add('a nameless file with O_EXCL never gets a name', { root: true }, () => {
  const fd = tmpfile(O.RDWR | O.EXCL);
  expectErrno('ENOENT', () => sys.linkFd(fd, 'x'));
  sys.close(fd);
});

add('a nameless file takes mode, umask and owner', { root: true }, () => {
  const fd = asUser(OWNER, () => withUmask(0o022, () => tmpfile(O.RDWR, 0o777)));
  const s = sys.fstat(fd);
  expectMode(s.perm, 0o755);
  assert.deepEqual([s.uid, s.gid], [OWNER.uid, OWNER.gid]);
  sys.close(fd);
});

add('a nameless file needs a folder one may write to', { root: true, prepare: () => (file('x'), folder('d')) }, () => {
  sys.close(tmpfile(O.RDWR));
  expectErrno('ENOTDIR', () => sys.open('x', O.TMPFILE | O.RDWR, 0o600));
  expectErrno('ENOENT', () => sys.open('no', O.TMPFILE | O.RDWR, 0o600));
  asUser(OTHER, () => expectErrno('EACCES', () => sys.open('d', O.TMPFILE | O.RDWR, 0o600)));
});

add('a file by way of an O_PATH descriptor, before and after changes', { prepare: () => file('x') }, () => {
  sys.withFd('x', O.PATH, (fd) => {
    const path = `/proc/self/fd/${String(fd)}`;
    assert.equal(content.readFile(path), 'content\n');
    content.overwrite('x', 'CON');
    assert.equal(content.readFile(path), 'CONtent\n');
    content.overwrite(path, 'con');
    sys.chmod(path, 0o600);
    assert.deepEqual([content.readFile('x'), sys.stat('x').perm], ['content\n', 0o600]);
    sys.rename('x', 'y');
    assert.equal(content.readFile(path), 'content\n');
  });
});

add('a removed file by way of /proc', { prepare: () => file('x') }, () => {
  sys.withFd('x', O.RDWR, (fd) => {
    const path = `/proc/self/fd/${String(fd)}`;
    sys.unlink('x');
    assert.equal(content.readFile(path), 'content\n');
    content.overwrite(path, 'CON');
    assert.equal(content.pread(fd, 10, 0), 'CONtent\n');
    content.truncate(path, 3);
    assert.equal(sys.fstat(fd).size, 3);
    // A name that is gone cannot be had again.
    expectErrno('ENOENT', () => sys.link(path, 'y', 0x400));
  });
});

add('a folder with O_PATH is one to stand in and to start from', { prepare: () => (folder('d'), file('d/x')) }, () => {
  sys.withFd('d', O.PATH | O.DIRECTORY, (fd) => {
    const inside = sys.openat(fd, 'x', O.RDWR);
    content.write(inside, 'CON');
    sys.close(inside);
    sys.close(sys.openat(fd, 'new', O.WRONLY | O.CREAT, 0o600));
    sys.withFd('.', O.RDONLY, (back) => {
      sys.fchdir(fd);
      const names = sys.names();
      sys.fchdir(back);
      assert.deepEqual(names, ['new', 'x']);
    });
  });
});
