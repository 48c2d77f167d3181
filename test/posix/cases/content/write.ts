import { strict as assert } from 'node:assert';
import { alignedBuffer } from '@layerfs/linux/memory';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno, outcome } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { withPeers } from '../../harness/peer.js';

export const write = new Family('read and write');
const { add } = write;
const { O } = sys;
const { SEEK } = content;

const small = (): void => file('x');

add('move one position, pread and pwrite none', { prepare: small }, () => {
  sys.withFd('x', O.RDWR, (fd) => {
    assert.equal(content.read(fd, 2), 'co');
    content.write(fd, 'NT');
    assert.equal(content.pread(fd, 3, 0), 'coN');
    content.pwrite(fd, 'X', 0);
    assert.equal(content.read(fd, 2), 'en');
    assert.equal(content.lseek(fd, 0, SEEK.CUR), 6);
  });
  assert.equal(content.readFile('x'), 'XoNTent\n');
});

add('at and behind the end', { prepare: small }, () => {
  sys.withFd('x', O.RDWR, (fd) => {
    assert.equal(content.pread(fd, 5, 8), '');
    assert.equal(content.pread(fd, 5, 1000), '');
    assert.equal(content.pread(fd, 100, 6), 't\n');
    content.pwrite(fd, 'end', 5000);
    assert.equal(sys.fstat(fd).size, 5003);
    assert.equal(content.pread(fd, 10, 4998), '\0\0end');
    assert.equal(content.read(fd, 0), '');
  });
});

add('lseek refuses what makes no sense', { prepare: () => (small(), sys.mkfifo('p')) }, () => {
  sys.withFd('x', O.RDONLY, (fd) => {
    expectErrno('EINVAL', () => content.lseek(fd, -1, SEEK.SET));
    expectErrno('EINVAL', () => content.lseek(fd, -9, SEEK.END));
    expectErrno('EINVAL', () => content.lseek(fd, 0, 99));
    assert.equal(content.lseek(fd, 1000, SEEK.END), 1008);
    assert.equal(content.read(fd, 1), '');
    expectErrno('EINVAL', () => content.pread(fd, 1, -1));
  });
  sys.withFd('p', O.RDWR, (fd) => expectErrno('ESPIPE', () => content.lseek(fd, 0, SEEK.SET)));
});

add('content of many sizes comes back', {}, () => {
  for (const size of [1, 511, 4095, 4096, 4097, 65_536, 131_073, 1_048_576, 3_000_001]) {
    const data = Buffer.alloc(size, `${String(size)} bytes `).toString('latin1');
    file('x', { content: data });
    assert.equal(sys.stat('x').size, size);
    assert.ok(content.readFile('x') === data, `content of ${String(size)} bytes`);
    sys.unlink('x');
  }
});

add(
  'a change in the middle of a large file',
  { prepare: () => file('x', { content: 'abcdefgh'.repeat(250_000) }) },
  () => {
    sys.withFd('x', O.RDWR, (fd) => {
      content.pwrite(fd, 'MIDDLE', 1_000_001);
      content.pwrite(fd, 'END', 1_999_999);
    });
    const wanted = Buffer.alloc(2_000_002, 'abcdefgh');
    wanted.write('MIDDLE', 1_000_001);
    wanted.write('END', 1_999_999);
    assert.ok(content.readFile('x') === wanted.toString('latin1'));
  },
);

add('O_APPEND writes at the end wherever the position is', { prepare: small }, () => {
  sys.withFd('x', O.RDWR | O.APPEND, (fd) => {
    content.lseek(fd, 0, SEEK.SET);
    content.write(fd, 'one ');
    assert.equal(content.lseek(fd, 0, SEEK.CUR), 12);
    content.overwrite('x', 'two ', O.WRONLY | O.APPEND);
    content.write(fd, 'three');
    // Linux appends here too, against POSIX (pwrite(2), BUGS).
    content.pwrite(fd, '!', 0);
  });
  assert.equal(content.readFile('x'), 'content\none two three!');
});

add('O_APPEND of two processes loses nothing', { prepare: () => file('x', { content: '' }) }, async () => {
  await withPeers(2, async (...peers) => {
    await Promise.all(peers.map((peer, i) => peer.call('appendLines', 'x', String(i).repeat(99), 300)));
  });
  const lines = content.readFile('x').split('\n');
  assert.equal(lines.pop(), '');
  assert.equal(lines.length, 600);
  for (const i of ['0', '1']) assert.equal(lines.filter((line) => line === i.repeat(99)).length, 300);
});

add('two processes write each their half', { prepare: () => file('x', { content: '' }) }, async () => {
  await withPeers(2, async (...peers) => {
    await Promise.all(peers.map((peer, i) => peer.call('writeBlocks', 'x', 'ab'[i], i * 200_000, 100)));
  });
  assert.ok(content.readFile('x') === 'a'.repeat(200_000) + 'b'.repeat(200_000));
});

add('what one process writes another one reads at once', { prepare: small }, async () => {
  await withPeers(1, async (peer) => {
    const fd = (await peer.call('open', 'x', O.RDONLY)) as number;
    for (const text of ['first', 'second', 'third']) {
      content.overwrite('x', text, O.WRONLY | O.TRUNC);
      assert.equal(await peer.call('pread', fd, 99, 0), text);
      assert.equal(await peer.call('size', 'x'), text.length);
    }
  });
});

add(
  'O_DIRECT goes past the cache, and agrees with it',
  { prepare: () => file('x', { content: 'x'.repeat(16_384) }) },
  () => {
    if (outcome(() => sys.withFd('x', O.RDWR | O.DIRECT, () => undefined)) === 'EINVAL')
      throw new Skip('no O_DIRECT here');
    const memory = alignedBuffer(8192, 4096);
    sys.withFd('x', O.RDWR | O.DIRECT, (fd) => {
      assert.equal(content.preadInto(fd, memory, 8192, 4096), 8192);
      assert.equal(Buffer.from(memory).toString('latin1'), 'x'.repeat(8192));
      memory.fill(0x64);
      assert.equal(content.pwriteFrom(fd, memory, 4096, 4096), 4096);
    });
    assert.equal(content.readFile('x'), 'x'.repeat(4096) + 'd'.repeat(4096) + 'x'.repeat(8192));
    content.overwrite('x', 'cached');
    sys.withFd('x', O.RDONLY | O.DIRECT, (fd) => {
      content.preadInto(fd, memory, 4096, 0);
      assert.equal(Buffer.from(memory.subarray(0, 7)).toString('latin1'), 'cachedx');
    });
  },
);

add('fsync and fdatasync of files and folders', { prepare: () => (small(), folder('d'), sys.mkfifo('p')) }, () => {
  for (const [name, flags] of [
    ['x', O.RDWR],
    ['x', O.RDONLY],
    ['d', O.RDONLY],
    ['.', O.RDONLY],
  ] as const) {
    sys.withFd(name, flags, (fd) => {
      content.fsync(fd);
      content.fdatasync(fd);
    });
  }
  sys.withFd('p', O.RDWR, (fd) => expectErrno('EINVAL', () => content.fsync(fd)));
  sys.withFd('x', O.PATH, (fd) => expectErrno('EBADF', () => content.fsync(fd)));
  expectErrno('EBADF', () => content.fsync(9999));
});
