import { closeSync, openSync, writeSync } from 'node:fs';
import { PollSet, eventfd, pipe, readRaw } from '@layerfs/linux';
import { expect, it, vi } from 'vitest';
import { ENDED, NOTHING, SERVED, type Connection } from './connection.js';
import { Loop } from './loop.js';
import type { Reply } from './wire/reply.js';

const { runnable } = vi.hoisted(() => ({ runnable: vi.fn<() => number>(() => 1) }));

vi.mock('@layerfs/linux', async (actual) => ({ ...(await actual<object>()), runnableTasks: runnable }));

/** A connection that asks what `next` makes up, and answers by it: undefined when no request waits. */
function connected(
  fd: number,
  next: () => ((reply: Reply) => void) | undefined,
  more: Partial<Connection> = {},
): Connection {
  let request: ReturnType<typeof next>;
  const connection: Partial<Connection> = {
    fd,
    sendDeferred: () => undefined,
    spare: () => false,
    rest: () => undefined,
    receive: () => ((request = next()) === undefined ? NOTHING : 80),
    answer(_, reply) {
      request?.(reply);
      return SERVED;
    },
    ...more,
  };
  return connection as Connection;
}

const ok = (reply: Reply): void => reply.ok();

it('gives the thread back when an answer was postponed: promises go on then', () => {
  const fd = openSync('/dev/null', 'r');
  let requests = 0;
  const connection = connected(fd, () => {
    requests++;
    if (requests % 4 === 0) return undefined;
    return requests === 3 ? (reply) => void reply.defer() : ok;
  });
  const loop = new Loop({ spins: 0 });
  loop.add(connection);
  expect(loop.run(0)).toBe('deferred');
  // What was there already is served first.
  expect(requests).toBe(4);
  closeSync(fd);
});

it.each([
  ['looks for the next request after a small answer', 100, 99, 50],
  ['looks less often after a large one', 256 << 10, 1, 40],
  ['sleeps after a large one when others need the processors', 256 << 10, 99, 0],
])('%s', (_, bytes, tasks, looks) => {
  runnable.mockReturnValue(tasks);
  // Nothing to read from it: neither end of file, which poll reports, nor a request.
  const [fd, other] = pipe();
  let calls = 0;
  const connection = connected(fd, () => (++calls > 1 ? undefined : (reply) => reply.data(new Uint8Array(bytes))));
  const loop = new Loop({ spins: 50 });
  loop.add(connection);
  expect(loop.run(0)).toBe('idle');
  // The request, nothing behind it, and then it looks.
  expect(calls).toBe(2 + looks);
  closeSync(fd);
  closeSync(other);
});

it.each([1, 2])('serves what it finds while it looks at %i connections', (count) => {
  const pipes = Array.from({ length: count }, () => pipe());
  const waited = vi.spyOn(PollSet.prototype, 'wait');
  const loop = new Loop({ spins: 50 });
  let requests = 0;
  let looking = false;
  for (const [fd, other] of pipes) {
    const next = (): typeof ok | undefined => {
      if (readRaw(fd, new Uint8Array(1), 1) < 1) return undefined;
      requests++;
      return ok;
    };
    // Before it looks: that is when the second request comes.
    const spare = (): boolean => {
      if (!looking) writeSync(other, 'x');
      looking = true;
      return false;
    };
    loop.add(connected(fd, next, { spare }));
  }
  writeSync(pipes[0][1], 'x');
  expect(loop.run(1)).toBe('idle');
  expect(requests).toBe(2);
  // It slept once, in the end.
  expect(waited.mock.calls.filter(([timeout]) => timeout !== 0)).toEqual([[1]]);
  waited.mockRestore();
  for (const each of pipes.flat()) closeSync(each);
});

it('ends a connection that was unmounted while it looked', () => {
  const [fd, other] = pipe();
  let looks = 0;
  const closed: Connection[] = [];
  const connection = connected(fd, () => undefined, {
    receive: () => [80, NOTHING, NOTHING, ENDED][looks++],
    answer: (_, reply) => (reply.ok(), SERVED),
    close: () => undefined,
  });
  const loop = new Loop({ spins: 50, onEnd: (ended) => closed.push(ended) });
  loop.add(connection);
  expect(loop.run(0)).toBe('empty');
  expect([looks, closed]).toEqual([4, [connection]]);
  closeSync(fd);
  closeSync(other);
});

it('hears who wakes it while it looks at several connections', () => {
  const pipes = [pipe(), pipe()];
  const wake = eventfd();
  const loop = new Loop({ spins: 50, wake: [wake] });
  let calls = 0;
  const spare = (): boolean => {
    writeSync(wake, new Uint8Array(new BigUint64Array([1n]).buffer));
    return false;
  };
  for (const [fd] of pipes) loop.add(connected(fd, () => (++calls === 1 ? ok : undefined), { spare }));
  const waited = vi.spyOn(PollSet.prototype, 'wait');
  expect(loop.run(1)).toBe('woken');
  // It did not sleep before.
  expect(waited.mock.calls).toEqual([[0]]);
  waited.mockRestore();
  for (const each of [...pipes.flat(), wake]) closeSync(each);
});

it('lets the file system do something ahead only while no request waits, and before it sleeps', () => {
  const [fd, other] = pipe();
  const happened: string[] = [];
  let toDo = 3;
  const next = (): typeof ok | undefined => {
    const requests = happened.filter((what) => what === 'request').length;
    // Two wait; the third comes when something was done ahead.
    if (requests > 2 || (requests === 2 && !happened.includes('ahead'))) return undefined;
    happened.push('request');
    return ok;
  };
  const connection = connected(fd, next, {
    spare() {
      if (toDo > 0) happened.push('ahead');
      return --toDo > 0;
    },
    rest: () => void happened.push('rest'),
  });
  const loop = new Loop({ spins: 0 });
  loop.add(connection);
  expect(loop.run(0)).toBe('idle');
  expect(happened).toEqual(['request', 'request', 'ahead', 'request', 'ahead', 'ahead', 'rest']);
  closeSync(fd);
  closeSync(other);
});

it('does nothing ahead between many requests that wait', () => {
  const [fd, other] = pipe();
  let requests = 0;
  const ahead: number[] = [];
  const next = (): typeof ok | undefined => (requests < 300 ? (requests++, ok) : undefined);
  const loop = new Loop({ spins: 0 });
  loop.add(connected(fd, next, { spare: () => (ahead.push(requests), false) }));
  expect(loop.run(0)).toBe('idle');
  expect(ahead).toEqual([300]);
  closeSync(fd);
  closeSync(other);
});

it('hears who wakes it while much is done ahead', () => {
  const [fd, other] = pipe();
  const wake = eventfd();
  let steps = 0;
  const connection = connected(fd, () => undefined, {
    spare() {
      if (++steps === 100) writeSync(wake, new Uint8Array(new BigUint64Array([1n]).buffer));
      return true;
    },
  });
  const loop = new Loop({ spins: 0, wake: [wake] });
  loop.add(connection);
  expect(loop.run(0)).toBe('woken');
  expect(steps).toBeLessThan(120);
  for (const each of [fd, other, wake]) closeSync(each);
});
