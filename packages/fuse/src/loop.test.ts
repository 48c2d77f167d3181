import { closeSync, openSync, writeSync } from 'node:fs';
import { PollSet, eventfd, pipe, readRaw } from '@layerfs/linux';
import { expect, it, vi } from 'vitest';
import { NOTHING, SERVED, type Connection } from './connection.js';
import { Loop } from './loop.js';
import type { Request } from './wire/request.js';
import type { Reply } from './wire/reply.js';

const { runnable } = vi.hoisted(() => ({ runnable: vi.fn<() => number>(() => 1) }));

vi.mock('@layerfs/linux', async (actual) => ({ ...(await actual<object>()), runnableTasks: runnable }));

it('gives the thread back when an answer was postponed: promises go on then', () => {
  const fd = openSync('/dev/null', 'r');
  let requests = 0;
  const connection: Partial<Connection> = {
    fd,
    sendDeferred: () => undefined,
    spare: () => false,
    rest: () => undefined,
    serve(_request: Request, reply: Reply) {
      requests++;
      if (requests === 3) reply.defer();
      return requests % 4 === 0 ? NOTHING : SERVED;
    },
  };
  const loop = new Loop({ spins: 0 });
  loop.add(connection as Connection);
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
  const waited = vi.spyOn(PollSet.prototype, 'wait');
  // Nothing to read from it: neither end of file, which poll reports, nor a request.
  const [fd, other] = pipe();
  let calls = 0;
  const connection: Partial<Connection> = {
    fd,
    sendDeferred: () => undefined,
    spare: () => false,
    rest: () => undefined,
    serve(_request: Request, reply: Reply) {
      if (++calls > 1) return NOTHING;
      reply.data(new Uint8Array(bytes));
      return SERVED;
    },
  };
  const loop = new Loop({ spins: 50 });
  loop.add(connection as Connection);
  expect(loop.run(1)).toBe('idle');
  // The last one sleeps.
  expect(waited.mock.calls).toEqual([...Array.from({ length: looks }, () => [0]), [1]]);
  waited.mockRestore();
  closeSync(fd);
  closeSync(other);
});

it('serves what it finds while it looks, and hears who wakes it', () => {
  const [fd, other] = pipe();
  const wake = eventfd();
  const waited = vi.spyOn(PollSet.prototype, 'wait');
  let requests = 0;
  const connection: Partial<Connection> = {
    fd,
    sendDeferred: () => undefined,
    rest: () => undefined,
    // Before it looks: that is when the second request comes, and then who wakes it.
    spare() {
      if (requests === 1) writeSync(other, 'x');
      else writeSync(wake, new Uint8Array(new BigUint64Array([1n]).buffer));
      return false;
    },
    serve(request: Request, reply: Reply) {
      if (readRaw(fd, request.bytes, 1) < 1) return NOTHING;
      requests++;
      reply.ok();
      return SERVED;
    },
  };
  const loop = new Loop({ spins: 50, wake: [wake] });
  loop.add(connection as Connection);
  writeSync(other, 'x');
  expect(loop.run(1)).toBe('woken');
  expect(requests).toBe(2);
  // It never slept.
  expect(waited.mock.calls).toEqual([[0], [0]]);
  waited.mockRestore();
  for (const each of [fd, other, wake]) closeSync(each);
});

it('lets the file system do something ahead only while no request waits, and before it sleeps', () => {
  const [fd, other] = pipe();
  const happened: string[] = [];
  let toDo = 3;
  const connection: Partial<Connection> = {
    fd,
    sendDeferred: () => undefined,
    serve(_request: Request, reply: Reply) {
      const requests = happened.filter((what) => what === 'request').length;
      // Two wait; the third comes when something was done ahead.
      if (requests < 2 || (requests === 2 && happened.includes('ahead'))) {
        happened.push('request');
        reply.ok();
        return SERVED;
      }
      return NOTHING;
    },
    spare() {
      if (toDo > 0) happened.push('ahead');
      return --toDo > 0;
    },
    rest: () => void happened.push('rest'),
  };
  const loop = new Loop({ spins: 0 });
  loop.add(connection as Connection);
  expect(loop.run(0)).toBe('idle');
  expect(happened).toEqual(['request', 'request', 'ahead', 'request', 'ahead', 'ahead', 'rest']);
  closeSync(fd);
  closeSync(other);
});

it('hears who wakes it while much is done ahead', () => {
  const [fd, other] = pipe();
  const wake = eventfd();
  let steps = 0;
  const connection: Partial<Connection> = {
    fd,
    sendDeferred: () => undefined,
    serve: () => NOTHING,
    spare() {
      if (++steps === 100) writeSync(wake, new Uint8Array(new BigUint64Array([1n]).buffer));
      return true;
    },
  };
  const loop = new Loop({ spins: 0, wake: [wake] });
  loop.add(connection as Connection);
  expect(loop.run(0)).toBe('woken');
  expect(steps).toBeLessThan(120);
  for (const each of [fd, other, wake]) closeSync(each);
});
