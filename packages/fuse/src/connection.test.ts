import { describe, expect, it } from 'vitest';
import { ErrnoError, errno } from '@layerfs/linux';
import { Connection } from './connection.js';
import type { FileSystem } from './filesystem.js';
import { OPCODE } from './wire/constants.js';
import { Reply } from './wire/reply.js';
import { Request } from './wire/request.js';

function serve(fs: Partial<FileSystem>, opcode: number, body = Buffer.alloc(0), errors: unknown[] = []): Reply {
  const connection = new Connection(
    -1,
    { init: { capabilities: [] }, ...fs },
    { onError: (error) => errors.push(error) },
  );
  const request = new Request(Buffer.from(new ArrayBuffer(8192)));
  request.bytes.writeUInt32LE(40 + body.length, 0);
  request.bytes.writeUInt32LE(opcode, 4);
  request.bytes.writeUInt32LE(1, 16);
  request.bytes.set(body, 40);
  const reply = new Reply(8192);
  connection.dispatch(request, reply, 40 + body.length);
  return reply;
}

describe('Connection.dispatch', () => {
  it('passes an ErrnoError on', () => {
    const reply = serve(
      {
        lookup: () => {
          throw new ErrnoError(errno.ESTALE, 'lookup');
        },
      },
      OPCODE.LOOKUP,
      Buffer.from('x\0'),
    );
    expect(reply.errno).toBe(errno.ESTALE);
  });

  it('turns anything else that is thrown into EIO, and reports it', () => {
    const errors: unknown[] = [];
    const reply = serve(
      {
        lookup: () => {
          throw new TypeError('a bug');
        },
      },
      OPCODE.LOOKUP,
      Buffer.from('x\0'),
      errors,
    );
    expect(reply.errno).toBe(errno.EIO);
    expect(errors).toHaveLength(1);
  });

  it('reports what goes wrong while something is done ahead, and has no more of it done', () => {
    const errors: string[] = [];
    let tries = 0;
    const fs: FileSystem = {
      init: { capabilities: [] },
      spare() {
        tries++;
        throw new Error('broken');
      },
      rest() {
        throw new Error('broken, too');
      },
    };
    const connection = new Connection(-1, fs, {
      onError: (error, opcode) => errors.push(`${opcode}: ${String(error)}`),
    });
    expect([connection.spare(), connection.spare()]).toEqual([false, false]);
    connection.rest();
    expect(errors).toEqual(['SPARE: Error: broken', 'REST: Error: broken, too']);
    expect(tries).toBe(1);
    expect(new Connection(-1, { init: { capabilities: [] } }).spare()).toBe(false);
  });

  it('answers for a handler that forgot to', () => {
    const errors: unknown[] = [];
    expect(serve({ getattr: () => undefined }, OPCODE.GETATTR, Buffer.alloc(16), errors).errno).toBe(errno.EIO);
    expect(errors).toHaveLength(1);
  });

  it('says ENOSYS to unknown opcodes and missing methods, EINVAL to short requests', () => {
    expect(serve({}, 4097).errno).toBe(errno.ENOSYS);
    expect(serve({}, OPCODE.OPEN, Buffer.alloc(8)).errno).toBe(errno.ENOSYS);
    expect(serve({ open: (_c, _f, _k, r) => r.open(1, 0) }, OPCODE.OPEN, Buffer.alloc(4)).errno).toBe(errno.EINVAL);
  });

  it('counts lookups and takes forgets, without an answer', () => {
    const forgotten: [number, number][] = [];
    const body = Buffer.alloc(8 + 32);
    body.writeUInt32LE(2, 0);
    body.writeUInt32LE(5, 8);
    body.writeUInt32LE(1, 16);
    body.writeUInt32LE(6, 24);
    body.writeUInt32LE(3, 32);
    const reply = serve({ forget: (nodeid, count) => forgotten.push([nodeid, count]) }, OPCODE.BATCH_FORGET, body);
    expect(reply.silent).toBe(true);
    expect(forgotten).toEqual([
      [5, 1],
      [6, 3],
    ]);
    body.writeUInt32LE(1 << 30, 0);
    expect(serve({ forget: () => undefined }, OPCODE.BATCH_FORGET, body).silent).toBe(true);
  });

  it('sends deferred answers later, with the request that they belong to', () => {
    const sent: Reply[] = [];
    const later: Reply[] = [];
    const connection = new Connection(-1, {
      init: { capabilities: [] },
      read: (_caller, _fh, _offset, size, reply) => later.push(reply.defer(size + 16)),
    });
    const request = new Request(Buffer.from(new ArrayBuffer(4096)));
    request.bytes.writeUInt32LE(80, 0);
    request.bytes.writeUInt32LE(OPCODE.READ, 4);
    request.bytes.writeUInt32LE(99, 8);
    request.bytes.writeUInt32LE(5, 40 + 16);
    const reply = new Reply(4096, (answer) => sent.push(answer));
    connection.dispatch(request, reply, 80);
    expect(reply.silent).toBe(true);
    expect(sent).toHaveLength(0);
    later[0].data(Buffer.from('hello'));
    expect(sent).toHaveLength(1);
    expect(sent[0].bytes.readUInt32LE(8)).toBe(99);
    expect(sent[0].length).toBe(21);
  });

  it('survives 20,000 damaged requests, and answers every one that wants an answer', () => {
    let seed = 12345;
    const random = (limit: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return (seed >>> 8) % limit;
    };
    const errors: unknown[] = [];
    const any = (...args: unknown[]): void => (args.at(-1) as Reply).ok();
    const fs = new Proxy(
      { init: { capabilities: [] } },
      {
        get: (target, key) => (key === 'init' ? target.init : key === 'forget' || key === 'interrupt' ? () => 0 : any),
      },
    ) as unknown as FileSystem;
    const connection = new Connection(-1, fs, { onError: (error) => errors.push(error) });
    const request = new Request(Buffer.from(new ArrayBuffer(8192)));
    const reply = new Reply(8192);
    const silent = new Set<number>([OPCODE.FORGET, OPCODE.BATCH_FORGET, OPCODE.INTERRUPT, OPCODE.NOTIFY_REPLY]);
    for (let round = 0; round < 20_000; round++) {
      const length = random(4) === 0 ? random(60) : 40 + random(200);
      for (let i = 0; i < length; i++) request.bytes[i] = random(3) === 0 ? random(256) : 0;
      const opcode = random(60);
      const lie = random(20) === 0;
      request.bytes.writeUInt32LE(lie ? random(1 << 30) : length, 0);
      request.bytes.writeUInt32LE(opcode, 4);
      connection.dispatch(request, reply, length);
      if (length < 40 || (lie && request.bytes.readUInt32LE(0) !== length)) expect(reply.length).toBe(0);
      else if (!silent.has(opcode)) {
        expect(reply.length).toBeGreaterThanOrEqual(16);
        expect(reply.bytes.readUInt32LE(0)).toBe(reply.length);
      }
    }
    expect(errors.every((error) => error instanceof ErrnoError)).toBe(true);
  });
});
