import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { F, FLOCK, LOCK, flock, getLock, lockBytes, setLock } from '../../harness/locks.js';
import { stillPending, withPeers, type Peer } from '../../harness/peer.js';
import { ErrnoError } from '@layerfs/linux';

export const locks = new Family('locks');
const { add } = locks;
const { O } = sys;

const prepare = (): void => (file('x', { content: '0123456789' }), sys.link('x', 'y'), folder('d'));

async function openIn(peer: Peer, name = 'x', flags: number = O.RDWR): Promise<number> {
  return (await peer.call('open', name, flags)) as number;
}

/** The lock is held by somebody else. */
async function expectHeld(call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error) => error instanceof ErrnoError && error.code === 'EAGAIN');
}

/** Runs with `name` open here. */
async function withOpen(name: string, flags: number, run: (fd: number) => Promise<void>): Promise<void> {
  const fd = sys.open(name, flags);
  try {
    await run(fd);
  } finally {
    sys.close(fd);
  }
}

add('flock keeps another process out, also through another name', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDONLY, async (fd) => {
      flock(fd, FLOCK.EX);
      const theirs = await openIn(peer);
      const other = await openIn(peer, 'y');
      await expectHeld(peer.call('flock', theirs, FLOCK.EX | FLOCK.NB));
      await expectHeld(peer.call('flock', other, FLOCK.SH | FLOCK.NB));
      flock(fd, FLOCK.UN);
      await peer.call('flock', theirs, FLOCK.EX | FLOCK.NB);
      expectErrno('EAGAIN', () => flock(fd, FLOCK.SH | FLOCK.NB));
    }),
  ),
);

add('flock is shared by readers', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDONLY, async (fd) => {
      flock(fd, FLOCK.SH);
      const theirs = await openIn(peer);
      await peer.call('flock', theirs, FLOCK.SH | FLOCK.NB);
      expectErrno('EAGAIN', () => flock(fd, FLOCK.EX | FLOCK.NB));
      await peer.call('flock', theirs, FLOCK.UN);
      flock(fd, FLOCK.EX | FLOCK.NB);
    }),
  ),
);

add('flock belongs to the open file, not to the process', { prepare }, () => {
  sys.withFd('x', O.RDWR, (a) =>
    sys.withFd('x', O.RDWR, (b) => {
      flock(a, FLOCK.EX);
      expectErrno('EAGAIN', () => flock(b, FLOCK.SH | FLOCK.NB));
      flock(a, FLOCK.EX | FLOCK.NB);
    }),
  );
  sys.withFd('x', O.RDWR, (fd) => flock(fd, FLOCK.EX | FLOCK.NB));
});

add('flock waits until the other lets go', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDONLY, async (fd) => {
      flock(fd, FLOCK.EX);
      const waiting = peer.call('flock', await openIn(peer), FLOCK.EX);
      assert.ok(await stillPending(waiting), 'waits');
      flock(fd, FLOCK.UN);
      await waiting;
    }),
  ),
);

add('flock ends with the process that held it', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDONLY, async (fd) => {
      await peer.call('flock', await openIn(peer), FLOCK.EX);
      expectErrno('EAGAIN', () => flock(fd, FLOCK.EX | FLOCK.NB));
      await peer.end();
      flock(fd, FLOCK.EX | FLOCK.NB);
    }),
  ),
);

add('flock of folders', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('d', O.RDONLY, async (fd) => {
      flock(fd, FLOCK.EX);
      await expectHeld(peer.call('flock', await openIn(peer, 'd', O.RDONLY), FLOCK.SH | FLOCK.NB));
    }),
  ),
);

add('flock refuses what makes no sense', { prepare }, () => {
  sys.withFd('x', O.RDONLY, (fd) => expectErrno('EINVAL', () => flock(fd, 0x40)));
  sys.withFd('x', O.PATH, (fd) => expectErrno('EBADF', () => flock(fd, FLOCK.SH)));
  expectErrno('EBADF', () => flock(9999, FLOCK.SH));
});

add('fcntl keeps another process out of a range, and tells who it is', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDWR, async (fd) => {
      const theirs = await openIn(peer);
      await peer.call('fcntl', theirs, F.SETLK, lockBytes(LOCK.WRITE, 2, 3));
      const pid = await peer.call('pid');
      assert.deepEqual(getLock(fd, LOCK.READ), { type: LOCK.WRITE, start: 2, length: 3, pid });
      assert.equal(getLock(fd, LOCK.WRITE, 0, 2), undefined);
      expectErrno(['EAGAIN', 'EACCES'], () => setLock(fd, LOCK.READ, 4, 1));
      expectErrno(['EAGAIN', 'EACCES'], () => setLock(fd, LOCK.WRITE));
      setLock(fd, LOCK.WRITE, 5);
      setLock(fd, LOCK.WRITE, 0, 2);
      await expectHeld(peer.call('fcntl', theirs, F.SETLK, lockBytes(LOCK.READ, 100, 1)));
      await peer.call('fcntl', theirs, F.SETLK, lockBytes(LOCK.NONE, 3, 1));
      setLock(fd, LOCK.WRITE, 3, 1);
      expectErrno(['EAGAIN', 'EACCES'], () => setLock(fd, LOCK.WRITE, 4, 1));
    }),
  ),
);

add('fcntl read locks are shared', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDWR, async (fd) => {
      const theirs = await openIn(peer);
      await peer.call('fcntl', theirs, F.SETLK, lockBytes(LOCK.READ));
      setLock(fd, LOCK.READ);
      expectErrno(['EAGAIN', 'EACCES'], () => setLock(fd, LOCK.WRITE));
      await expectHeld(peer.call('fcntl', theirs, F.SETLK, lockBytes(LOCK.WRITE)));
    }),
  ),
);

add('fcntl waits until the other lets go', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDWR, async (fd) => {
      setLock(fd, LOCK.WRITE);
      const waiting = peer.call('fcntl', await openIn(peer, 'y'), F.SETLKW, lockBytes(LOCK.WRITE, 0, 1));
      assert.ok(await stillPending(waiting), 'waits');
      setLock(fd, LOCK.NONE);
      await waiting;
    }),
  ),
);

add('fcntl locks end with the process that held them', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDWR, async (fd) => {
      await peer.call('fcntl', await openIn(peer), F.SETLK, lockBytes(LOCK.WRITE));
      expectErrno(['EAGAIN', 'EACCES'], () => setLock(fd, LOCK.WRITE));
      await peer.end();
      setLock(fd, LOCK.WRITE);
    }),
  ),
);

add('fcntl locks end when the process closes any descriptor of the file', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDWR, async (fd) => {
      await peer.call('fcntl', await openIn(peer), F.SETLK, lockBytes(LOCK.WRITE));
      const second = await openIn(peer, 'y', O.RDONLY);
      expectErrno(['EAGAIN', 'EACCES'], () => setLock(fd, LOCK.WRITE));
      await peer.call('close', second);
      setLock(fd, LOCK.WRITE);
    }),
  ),
);

add('fcntl locks of an open file keep others of the same process out', { prepare }, () => {
  sys.withFd('x', O.RDWR, (a) =>
    sys.withFd('x', O.RDWR, (b) => {
      setLock(a, LOCK.WRITE, 0, 5, F.OFD_SETLK);
      expectErrno('EAGAIN', () => setLock(b, LOCK.WRITE, 4, 1, F.OFD_SETLK));
      setLock(b, LOCK.WRITE, 5, 1, F.OFD_SETLK);
      expectErrno('EAGAIN', () => setLock(b, LOCK.READ, 0, 1));
    }),
  );
});

add('a deadlock of two processes is EDEADLK', { prepare }, () =>
  withPeers(2, async (one, two) => {
    const [a, b] = [await openIn(one), await openIn(two)];
    await one.call('fcntl', a, F.SETLK, lockBytes(LOCK.WRITE, 0, 1));
    await two.call('fcntl', b, F.SETLK, lockBytes(LOCK.WRITE, 1, 1));
    const waiting = one.call('fcntl', a, F.SETLKW, lockBytes(LOCK.WRITE, 1, 1));
    assert.ok(await stillPending(waiting), 'waits');
    await assert.rejects(
      two.call('fcntl', b, F.SETLKW, lockBytes(LOCK.WRITE, 0, 1)),
      (error) => error instanceof ErrnoError && error.code === 'EDEADLK',
    );
    await two.call('close', b);
    await waiting;
  }),
);

add('fcntl locks need a descriptor that allows what they guard', { prepare }, () => {
  sys.withFd('x', O.RDONLY, (fd) => expectErrno('EBADF', () => setLock(fd, LOCK.WRITE)));
  sys.withFd('x', O.WRONLY, (fd) => expectErrno('EBADF', () => setLock(fd, LOCK.READ)));
  sys.withFd('x', O.RDWR, (fd) => expectErrno('EINVAL', () => setLock(fd, LOCK.READ, -5, 1)));
});

add('flock and fcntl do not see each other', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDWR, async (fd) => {
      flock(fd, FLOCK.EX);
      await peer.call('fcntl', await openIn(peer), F.SETLK, lockBytes(LOCK.WRITE));
    }),
  ),
);

add('locks hold on a file that is changed and renamed meanwhile', { prepare }, () =>
  withPeers(1, (peer) =>
    withOpen('x', O.RDONLY, async (fd) => {
      flock(fd, FLOCK.EX);
      sys.chmod('x', 0o600);
      sys.rename('x', 'z');
      await expectHeld(peer.call('flock', await openIn(peer, 'z'), FLOCK.EX | FLOCK.NB));
    }),
  ),
);
