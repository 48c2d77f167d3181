import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import * as move from '../../harness/transfer.js';

export const transfer = new Family('transfer');
const { add } = transfer;
const { O } = sys;

const prepare = (): void => {
  file('from', { content: '0123456789'.repeat(10_000) });
  file('to', { content: '' });
};

function both(run: (from: number, to: number) => void): void {
  sys.withFd('from', O.RDWR, (from) => sys.withFd('to', O.RDWR, (to) => run(from, to)));
}

add('sendfile from file to file', { prepare }, () => {
  both((from, to) => {
    for (let done = 0; done < 100_000;) done += move.sendfile(to, from, 100_000 - done);
    assert.equal(move.sendfile(to, from, 100), 0);
  });
  assert.ok(content.readFile('to') === '0123456789'.repeat(10_000));
});

add('splice through a pipe', { prepare }, () => {
  const [out, into] = move.pipe();
  both((from, to) => {
    content.lseek(from, 5, content.SEEK.SET);
    for (let i = 0; i < 10; i++) {
      const n = move.splice(from, into, 1000);
      assert.ok(n > 0);
      for (let done = 0; done < n;) done += move.splice(out, to, n - done);
    }
    expectErrno('EINVAL', () => move.splice(from, to, 10));
  });
  sys.close(out);
  sys.close(into);
  const got = content.readFile('to');
  assert.ok(got === '0123456789'.repeat(10_000).slice(5, 5 + got.length) && got.length >= 10_000);
});

add('advice and readahead change nothing', { prepare }, () => {
  both((from) => {
    for (const advice of Object.values(move.ADVICE)) assert.equal(move.fadvise(from, advice), 0);
    move.readahead(from, 0, 50_000);
    content.pwrite(from, 'X', 50_000);
    move.syncFileRange(from, 0, 100_000);
    assert.equal(move.fadvise(from, move.ADVICE.DONTNEED), 0);
    assert.equal(content.pread(from, 2, 50_000), 'X1');
  });
});

add('dup shares the position, and survives the first', { prepare }, () => {
  const fd = sys.open('from', O.RDWR);
  const second = move.dup(fd);
  assert.equal(content.read(fd, 3), '012');
  assert.equal(content.read(second, 3), '345');
  sys.close(fd);
  content.write(second, 'AB');
  sys.close(second);
  sys.withFd('from', O.RDONLY, (again) => assert.equal(content.pread(again, 4, 5), '5AB8'));
});

add('O_APPEND can be turned on and off while a file is open', { prepare: () => file('x') }, () => {
  sys.withFd('x', O.RDWR, (fd) => {
    assert.equal(move.getStatusFlags(fd) & (O.APPEND | 3), O.RDWR);
    move.setStatusFlags(fd, O.APPEND);
    content.lseek(fd, 0, content.SEEK.SET);
    content.write(fd, 'end');
    move.setStatusFlags(fd, 0);
    content.lseek(fd, 0, content.SEEK.SET);
    content.write(fd, 'CON');
  });
  assert.equal(content.readFile('x'), 'CONtent\nend');
});

add(
  'hundreds of files are open at once',
  {
    prepare: () => {
      folder('d');
      for (let i = 0; i < 300; i++) file(`d/n${String(i)}`, { content: String(i) });
    },
  },
  () => {
    const fds = Array.from({ length: 300 }, (_, i) => sys.open(`d/n${String(i)}`, O.RDWR));
    try {
      for (const fd of fds) content.pwrite(fd, '!', 3);
      for (let i = 0; i < 300; i += 2) sys.unlink(`d/n${String(i)}`);
      for (const [i, fd] of fds.entries()) assert.equal(content.pread(fd, 10, 0), `${String(i).padEnd(3, '\0')}!`);
    } finally {
      for (const fd of fds) sys.close(fd);
    }
    assert.equal(sys.names('d').length, 150);
  },
);
