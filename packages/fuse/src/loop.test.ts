import { closeSync, openSync, writeSync } from 'node:fs';
import { eventfd, pipe } from '@layerfs/linux';
import { expect, it } from 'vitest';
import { NOTHING, SERVED, type Connection } from './connection.js';
import { Loop } from './loop.js';
import type { Request } from './wire/request.js';
import type { Reply } from './wire/reply.js';

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
  ['looks for the next request after a small answer', 100, 53],
  ['sleeps after a large one: who got it needs the processor', 256 << 10, 3],
])('%s', (_, bytes, looks) => {
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
  expect(loop.run(0)).toBe('idle');
  expect(calls).toBe(looks);
  closeSync(fd);
  closeSync(other);
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
