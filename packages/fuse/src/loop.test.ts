import { closeSync, openSync } from 'node:fs';
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
