import { createHash } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { POLL, PollSet } from '@layerfs/linux';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { Verifier } from '../packages/layerfs/dist/mount/filesystem/verifier.js';

let folder: string;
let verifier: Verifier;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-verifier-'));
  verifier = new Verifier(folder);
});
afterEach(() => {
  verifier.close();
  rmSync(folder, { recursive: true });
});

function objectOf(bytes: Uint8Array): { digest: string; path: string; size: number } {
  const digest = createHash('sha256').update(bytes).digest('hex');
  mkdirSync(join(folder, digest.slice(0, 2)), { recursive: true });
  const path = join(folder, digest.slice(0, 2), digest.slice(2));
  writeFileSync(path, bytes);
  return { digest, path, size: bytes.length };
}

function withFd<T>(path: string, flags: number, action: (fd: number) => T): T {
  const fd = openSync(path, flags);
  try {
    return action(fd);
  } finally {
    closeSync(fd);
  }
}

/** What the serving loop does: sleeps until it is woken, without a turn of the event loop. */
function serve(): void {
  const poll = new PollSet();
  poll.add(verifier.wake, POLL.IN);
  poll.wait(-1);
  expect(verifier.resume()).toBe(true);
}

it('reads a file once for each state of it', () => {
  const { digest, path } = objectOf(Buffer.from('content'));
  const look = (flags: number): string | undefined => withFd(path, flags, (fd) => verifier.digestOf(digest, fd));
  expect(look(constants.O_RDONLY)).toBe(digest);
  // It could not be read through this one.
  expect(look(constants.O_WRONLY)).toBe(digest);
  appendFileSync(path, 'more');
  expect(look(constants.O_WRONLY)).toBeUndefined();
  appendFileSync(path, 'and more');
  expect(look(constants.O_RDONLY)).not.toBe(digest);
});

it('hashes what is large in another thread, once for all who wait, also where the event loop gets no turns', () => {
  const { digest, path, size } = objectOf(Buffer.alloc(5 << 20, 'x'));
  const done: string[] = [];
  const begin = (name: string): boolean =>
    withFd(path, constants.O_RDONLY, (fd) => verifier.begin(digest, size, fd, () => done.push(name)));
  expect([begin('first'), begin('second')]).toEqual([true, true]);
  expect(done).toEqual([]);
  serve();
  expect(done).toEqual(['first', 'second']);
  expect(begin('third')).toBe(false);
  expect(withFd(path, constants.O_WRONLY, (fd) => verifier.digestOf(digest, fd))).toBe(digest);
});

it('does not wait for what is small, and tells of what is gone', () => {
  const small = objectOf(Buffer.from('small'));
  withFd(small.path, constants.O_RDONLY, (fd) => {
    expect(verifier.begin(small.digest, small.size, fd, () => undefined)).toBe(false);
  });
  const large = objectOf(Buffer.alloc(1 << 20, 'y'));
  let called = false;
  withFd(large.path, constants.O_RDONLY, (fd) => {
    rmSync(large.path);
    expect(verifier.begin(large.digest, large.size, fd, () => (called = true))).toBe(true);
    serve();
  });
  expect(called).toBe(true);
});

it('closed while its thread hashes, it keeps what that thread will write to', async () => {
  const { digest, path, size } = objectOf(Buffer.alloc(64 << 20, 'x'));
  const { wake } = verifier;
  const target = (): string => {
    try {
      return readlinkSync(`/proc/self/fd/${wake}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'closed';
      throw error;
    }
  };
  const begin = (object: { digest: string; path: string; size: number }): void =>
    withFd(object.path, constants.O_RDONLY, (fd) => {
      expect(verifier.begin(object.digest, object.size, fd, () => undefined)).toBe(true);
    });
  // So that the thread is there.
  begin(objectOf(Buffer.alloc(1 << 20, 'y')));
  serve();
  begin({ digest, path, size });
  await setTimeout(5);
  verifier.close();
  // They take the numbers that are free.
  const others = Array.from({ length: 20 }, (_, i) => openSync(join(folder, `other-${i}`), 'w'));
  expect(target()).toBe('anon_inode:[eventfd]');
  await expect.poll(target, { timeout: 20_000 }).not.toBe('anon_inode:[eventfd]');
  for (const fd of others) closeSync(fd);
  verifier = new Verifier(folder);
});

it('answers who waits when its thread fails, and starts another', async () => {
  const { digest, path, size } = objectOf(Buffer.alloc(1 << 20, 'x'));
  const done: string[] = [];
  const begin = (name: string): void =>
    withFd(path, constants.O_RDONLY, (fd) => {
      expect(verifier.begin(name, size, fd, () => done.push(name))).toBe(true);
    });
  // No path of a file: Node refuses it in a way that no disk does.
  const bad = '\0'.repeat(64);
  begin(bad);
  await expect.poll(() => done, { timeout: 20_000 }).toEqual([bad]);
  begin(digest);
  serve();
  expect(done).toEqual([bad, digest]);
  withFd(path, constants.O_WRONLY, (fd) => expect(verifier.digestOf(digest, fd)).toBe(digest));
});
