import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno, unlessUnsupported } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';

export const holes = new Family('holes');
const { add } = holes;
const { O } = sys;
const { FALLOC, SEEK } = content;
const MiB = 1024 * 1024;

/** fallocate, or a skipped case where the filesystem lacks the mode. */
function allocate(fd: number, mode: number, offset: number, length: number): void {
  unlessUnsupported('such fallocate', () => content.fallocate(fd, mode, offset, length));
}

function withX<T>(run: (fd: number) => T): T {
  return sys.withFd('x', O.RDWR, run);
}

const small = (): void => file('x');
const big = (): void => file('x', { content: 'x'.repeat(64 * 1024) });

add('fallocate makes a file longer, with zeros', { prepare: small }, () => {
  withX((fd) => {
    allocate(fd, 0, 0, 10_000);
    assert.equal(sys.fstat(fd).size, 10_000);
    allocate(fd, 0, 20_000, 5);
    assert.equal(sys.fstat(fd).size, 20_005);
    allocate(fd, 0, 0, 10);
  });
  assert.equal(content.readFile('x'), 'content\n'.padEnd(20_005, '\0'));
  assert.ok(sys.stat('x').blocks >= 20);
});

add('fallocate with KEEP_SIZE takes room alone', { prepare: small }, () => {
  withX((fd) => allocate(fd, FALLOC.KEEP_SIZE, 0, MiB));
  assert.equal(content.readFile('x'), 'content\n');
});

add('PUNCH_HOLE makes zeros and frees room', { prepare: big }, () => {
  const before = sys.stat('x').blocks;
  withX((fd) => {
    allocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 8192, 32_768);
    allocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 100, 50);
  });
  const wanted = `${'x'.repeat(100)}${'\0'.repeat(50)}${'x'.repeat(8042)}${'\0'.repeat(32_768)}${'x'.repeat(24_576)}`;
  assert.equal(content.readFile('x'), wanted);
  assert.ok(sys.stat('x').blocks < before, 'fewer blocks');
});

add('PUNCH_HOLE behind the end leaves the size', { prepare: small }, () => {
  withX((fd) => allocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 0, MiB));
  assert.equal(content.readFile('x'), '\0'.repeat(8));
});

add('ZERO_RANGE makes zeros, and a file longer unless told', { prepare: small }, () => {
  withX((fd) => {
    allocate(fd, FALLOC.ZERO_RANGE, 2, 3);
    assert.equal(content.pread(fd, 9, 0), 'co\0\0\0nt\n');
    allocate(fd, FALLOC.ZERO_RANGE | FALLOC.KEEP_SIZE, 6, 1000);
    assert.equal(sys.fstat(fd).size, 8);
    allocate(fd, FALLOC.ZERO_RANGE, 6, 1000);
    assert.equal(sys.fstat(fd).size, 1006);
  });
});

add(
  'COLLAPSE_RANGE and INSERT_RANGE move what is behind',
  {
    prepare: () => file('x', { content: ['a', 'b', 'c'].map((letter) => letter.repeat(65_536)).join('') }),
  },
  () => {
    withX((fd) => {
      allocate(fd, FALLOC.COLLAPSE_RANGE, 65_536, 65_536);
      assert.equal(sys.fstat(fd).size, 131_072);
      assert.equal(content.pread(fd, 2, 65_535), 'ac');
      allocate(fd, FALLOC.INSERT_RANGE, 65_536, 65_536);
      assert.equal(sys.fstat(fd).size, 196_608);
      assert.equal(content.pread(fd, 2, 65_535), 'a\0');
      assert.equal(content.pread(fd, 2, 131_071), '\0c');
    });
  },
);

add('fallocate refuses what makes no sense', { prepare: () => (small(), folder('d'), sys.mkfifo('p')) }, () => {
  withX((fd) => {
    expectErrno('EINVAL', () => content.fallocate(fd, 0, 0, 0));
    expectErrno('EINVAL', () => content.fallocate(fd, 0, -1, 5));
    expectErrno('EINVAL', () => content.fallocate(fd, 0, 5, -1));
    expectErrno('EOPNOTSUPP', () => content.fallocate(fd, FALLOC.PUNCH_HOLE, 0, 5));
    expectErrno(['EOPNOTSUPP', 'EINVAL'], () => content.fallocate(fd, 0x4000, 0, 5));
    expectErrno('EFBIG', () => content.fallocate(fd, 0, 2 ** 62, 2 ** 62));
  });
  sys.withFd('x', O.RDONLY, (fd) => expectErrno('EBADF', () => content.fallocate(fd, 0, 0, 5)));
  sys.withFd('d', O.RDONLY, (fd) => expectErrno(['EBADF', 'EISDIR'], () => content.fallocate(fd, 0, 0, 5)));
  sys.withFd('p', O.RDWR, (fd) => expectErrno('ESPIPE', () => content.fallocate(fd, 0, 0, 5)));
});

/** Data at 0 and at 1 MiB, 2 MiB long. */
const sparse = (): void => {
  file('x', { content: 'start' });
  withX((fd) => {
    content.pwrite(fd, 'middle', MiB);
    content.ftruncate(fd, 2 * MiB);
  });
};

function expectHoles(fd: number): void {
  assert.equal(content.lseek(fd, 0, SEEK.DATA), 0);
  const hole = content.lseek(fd, 0, SEEK.HOLE);
  assert.ok(hole >= 5 && hole <= MiB, `first hole at ${String(hole)}`);
  const data = content.lseek(fd, hole, SEEK.DATA);
  assert.ok(data > hole && data <= MiB, `second data at ${String(data)}`);
  const end = content.lseek(fd, MiB, SEEK.HOLE);
  assert.ok(end >= MiB + 6 && end < 2 * MiB, `second hole at ${String(end)}`);
  expectErrno('ENXIO', () => content.lseek(fd, end, SEEK.DATA));
}

add('SEEK_DATA and SEEK_HOLE find what is there', { prepare: sparse }, () => {
  sys.withFd('x', O.RDONLY, expectHoles);
});

add('SEEK_DATA and SEEK_HOLE at and behind the end', { prepare: small }, () => {
  withX((fd) => {
    assert.equal(content.lseek(fd, 0, SEEK.DATA), 0);
    assert.equal(content.lseek(fd, 3, SEEK.DATA), 3);
    assert.equal(content.lseek(fd, 0, SEEK.HOLE), 8);
    assert.equal(content.lseek(fd, 7, SEEK.HOLE), 8);
    expectErrno('ENXIO', () => content.lseek(fd, 8, SEEK.DATA));
    expectErrno('ENXIO', () => content.lseek(fd, 8, SEEK.HOLE));
    expectErrno('ENXIO', () => content.lseek(fd, -1, SEEK.DATA));
  });
});

add('a sparse file takes the room of its data', { prepare: sparse }, () => {
  assert.ok(sys.stat('x').blocks < 512, `${String(sys.stat('x').blocks)} blocks`);
});

add('a change of attributes keeps the holes', { prepare: sparse }, () => {
  sys.chmod('x', 0o600);
  sys.withFd('x', O.RDONLY, expectHoles);
  assert.ok(sys.stat('x').blocks < 512);
});

add('a write elsewhere keeps the holes, and all content', { prepare: sparse }, () => {
  withX((fd) => content.pwrite(fd, 'S', 0));
  sys.withFd('x', O.RDONLY, expectHoles);
  const all = content.readFile('x');
  assert.equal(all.length, 2 * MiB);
  assert.equal(all.replaceAll('\0', ''), 'Startmiddle');
  assert.ok(sys.stat('x').blocks < 512);
});

add('files far over 4 GiB', { prepare: small }, () => {
  withX((fd) => {
    for (const at of [2 ** 31 - 2, 2 ** 32 - 2, 2 ** 32 + 5, 2 ** 40 + 7]) {
      assert.equal(content.pwrite(fd, 'far', at), 3);
      assert.equal(sys.fstat(fd).size, at + 3);
      assert.equal(content.pread(fd, 10, at), 'far');
    }
    assert.equal(content.pread(fd, 4, 2 ** 32 - 2), 'far\0');
    assert.equal(content.lseek(fd, 0, SEEK.END), 2 ** 40 + 10);
    content.lseek(fd, -3, SEEK.END);
    assert.equal(content.read(fd, 5), 'far');
    content.ftruncate(fd, 2 ** 33);
    assert.equal(sys.fstat(fd).size, 2 ** 33);
    assert.equal(content.lseek(fd, 0, SEEK.CUR), 2 ** 40 + 10);
  });
  assert.equal(sys.stat('x').size, 2 ** 33);
  content.truncate('x', 2 ** 32 + 8);
  sys.withFd('x', O.RDONLY, (fd) => assert.equal(content.pread(fd, 10, 2 ** 32 + 3), '\0\0far'));
});
