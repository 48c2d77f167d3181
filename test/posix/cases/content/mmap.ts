import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import { MAP, Mapping, PROT, overwrite, pread, pwrite, readFile } from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';

export const mmap = new Family('mmap');
const { add } = mmap;
const { O } = sys;
const RW = PROT.READ | PROT.WRITE;

const pages = (): void => file('x', { content: 'a'.repeat(4096) + 'b'.repeat(4096) + 'c'.repeat(100) });

function mapped(
  run: (map: Mapping, fd: number) => void,
  flags: number = O.RDWR,
  protection: number = RW,
  how: number = MAP.SHARED,
): void {
  sys.withFd('x', flags, (fd) => {
    const map = new Mapping(fd, 8192, protection, how);
    try {
      run(map, fd);
    } finally {
      map.unmap();
    }
  });
}

add('reads, shared and private', { prepare: pages }, () => {
  for (const how of [MAP.SHARED, MAP.PRIVATE]) {
    mapped((map) => assert.equal(map.read(4094, 4), 'aabb'), O.RDONLY, PROT.READ, how);
  }
});

add('writes that are shared reach the file', { prepare: pages }, () => {
  mapped((map, fd) => {
    map.write(4094, 'MMAP');
    assert.equal(pread(fd, 6, 4093), 'aMMAPb');
    assert.equal(readFile('x').slice(4093, 4099), 'aMMAPb');
    map.sync();
  });
  assert.equal(readFile('x').slice(4093, 4099), 'aMMAPb');
  assert.equal(sys.stat('x').size, 8292);
});

add('writes that are private do not', { prepare: pages }, () => {
  mapped(
    (map) => {
      map.write(0, 'PRIVATE');
      assert.equal(map.read(0, 8), 'PRIVATEa');
    },
    O.RDONLY,
    RW,
    MAP.PRIVATE,
  );
  assert.equal(readFile('x').slice(0, 8), 'aaaaaaaa');
});

add('shows what is written to the file', { prepare: pages }, () => {
  mapped((map, fd) => {
    assert.equal(map.read(0, 2), 'aa');
    pwrite(fd, 'WRITE', 0);
    assert.equal(map.read(0, 6), 'WRITEa');
    overwrite('x', 'OTHER');
    assert.equal(map.read(0, 6), 'OTHERa');
  });
});

add('for reading shows what is written later by another descriptor', { prepare: pages }, () => {
  mapped(
    (map) => {
      assert.equal(map.read(0, 2), 'aa');
      overwrite('x', 'LATER');
      assert.equal(map.read(0, 6), 'LATERa');
    },
    O.RDONLY,
    PROT.READ,
  );
});

add('two mappings are one memory', { prepare: pages }, () => {
  mapped((a) =>
    mapped((b) => {
      a.write(10, 'shared');
      assert.equal(b.read(9, 8), 'ashareda');
    }),
  );
});

add('outlives the descriptor and the name', { prepare: pages }, () => {
  const fd = sys.open('x', O.RDWR);
  sys.link('x', 'y');
  const map = new Mapping(fd, 4096, RW, MAP.SHARED);
  sys.close(fd);
  sys.unlink('x');
  map.write(0, 'outlives');
  map.unmap();
  assert.equal(readFile('y').slice(0, 9), 'outlivesa');
  sys.unlink('y');
});

add('of an unlinked file', { prepare: pages }, () => {
  mapped((map, fd) => {
    sys.unlink('x');
    map.write(0, 'gone');
    assert.equal(pread(fd, 5, 0), 'gonea');
  });
});

add('writes nothing behind the end', { prepare: () => file('x', { content: 'short' }) }, () => {
  sys.withFd('x', O.RDWR, (fd) => {
    const map = new Mapping(fd, 4096, RW, MAP.SHARED);
    assert.equal(map.read(0, 8), 'short\0\0\0');
    map.write(4, 'T and behind');
    map.sync();
    map.unmap();
  });
  assert.equal(readFile('x'), 'shorT');
});

add('refuses what makes no sense', { prepare: () => (pages(), folder('d')) }, () => {
  const map = (fd: number, protection: number, how: number = MAP.SHARED, length = 4096, offset = 0): Mapping =>
    new Mapping(fd, length, protection, how, offset);
  sys.withFd('x', O.RDONLY, (fd) => {
    expectErrno('EACCES', () => map(fd, RW));
    expectErrno('EINVAL', () => map(fd, PROT.READ, MAP.SHARED, 0));
    expectErrno('EINVAL', () => map(fd, PROT.READ, MAP.SHARED, 4096, 100));
  });
  sys.withFd('x', O.WRONLY, (fd) => {
    expectErrno('EACCES', () => map(fd, PROT.WRITE));
    expectErrno('EACCES', () => map(fd, PROT.READ, MAP.PRIVATE));
  });
  sys.withFd('d', O.RDONLY, (fd) => expectErrno(['ENODEV', 'EACCES'], () => map(fd, PROT.READ)));
  sys.withFd('x', O.PATH, (fd) => expectErrno('EBADF', () => map(fd, PROT.READ)));
});
