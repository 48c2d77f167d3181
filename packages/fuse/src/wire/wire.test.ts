import { describe, expect, it } from 'vitest';
import { ErrnoError, errno } from '@layerfs/linux';
import { Attr } from './attr.js';
import { INIT } from './constants.js';
import { answerInit } from './init.js';
import { Reply } from './reply.js';
import { Request } from './request.js';

/** A request with a header and these body words. */
function request(opcode: number, nodeid: number, body: Uint8Array): Request {
  const bytes = Buffer.from(new ArrayBuffer(4096));
  bytes.writeUInt32LE(40 + body.length, 0);
  bytes.writeUInt32LE(opcode, 4);
  bytes.writeUInt32LE(0x11223344, 8); // unique, low half
  bytes.writeUInt32LE(0x55, 12); // unique, high half
  bytes.writeBigUInt64LE(BigInt(nodeid), 16);
  bytes.writeUInt32LE(1000, 24); // uid
  bytes.writeUInt32LE(100, 28); // gid
  bytes.writeUInt32LE(4242, 32); // pid
  bytes.set(body, 40);
  const result = new Request(bytes);
  expect(result.begin(40 + body.length)).toBe(true);
  return result;
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(new Uint32Array(values).buffer);
}

describe('Request', () => {
  it('reads the header', () => {
    const q = request(1, 2 ** 40 + 5, Buffer.from('name\0'));
    expect(q).toMatchObject({
      opcode: 1,
      nodeid: 2 ** 40 + 5,
      uniqueLow: 0x11223344,
      uniqueHigh: 0x55,
      uid: 1000,
      gid: 100,
      pid: 4242,
    });
    expect(q.name(0)).toBe('name');
  });

  it('keeps bytes that are not UTF-8', () => {
    expect(request(1, 1, Buffer.from([0xff, 0x80, 0])).name(0)).toBe('\xff\x80');
  });

  it('does not read a name beyond the request, even when an older one left a NUL there', () => {
    const q = request(1, 1, Buffer.from('abc'));
    expect(() => q.name(0)).toThrow(ErrnoError);
  });

  it('refuses numbers behind the end, and those that a number cannot hold', () => {
    const q = request(15, 1, words(1, 2));
    expect(q.u64(0)).toBe(2 * 2 ** 32 + 1);
    expect(() => q.u32(8)).toThrow(ErrnoError);
    expect(() => request(15, 1, words(0, 0xffffffff)).u64(0)).toThrow(ErrnoError);
    expect(request(15, 1, words(0xfffffffb, 0xffffffff)).i64(0)).toBe(-5);
  });

  it('refuses a length that is not what was read', () => {
    const q = new Request(Buffer.from(new ArrayBuffer(64)));
    q.bytes.writeUInt32LE(48, 0);
    expect(q.begin(40)).toBe(false);
    expect(q.begin(12)).toBe(false);
  });
});

describe('Reply', () => {
  const reply = new Reply(4096);
  const attr = Object.assign(new Attr(), {
    ino: 7,
    size: 2 ** 33 + 1,
    blocks: 3,
    mtimeSec: -5,
    mtimeNsec: 9,
    mode: 0o100644,
    nlink: 2,
    uid: 1,
    gid: 2,
    rdev: 0x103,
  });

  it('encodes an entry', () => {
    reply.begin(0xa, 0xb);
    reply.entry(7, attr, 1.5, 3);
    const b = reply.bytes;
    expect(b.readUInt32LE(0)).toBe(16 + 128); // length
    expect(b.readInt32LE(4)).toBe(0); // error
    expect([b.readUInt32LE(8), b.readUInt32LE(12)]).toEqual([0xa, 0xb]); // unique
    expect(b.readBigUInt64LE(16)).toBe(7n); // nodeid
    expect(b.readBigUInt64LE(24)).toBe(0n); // generation
    expect(b.readBigUInt64LE(32)).toBe(1n); // entry_valid
    expect(b.readBigUInt64LE(40)).toBe(3n); // attr_valid
    expect(b.readUInt32LE(48)).toBe(500_000_000); // entry_valid_nsec
    const a = 56; // struct fuse_attr
    expect(b.readBigUInt64LE(a)).toBe(7n);
    expect(b.readBigUInt64LE(a + 8)).toBe(2n ** 33n + 1n);
    expect(b.readBigInt64LE(a + 32)).toBe(-5n); // mtime
    expect(b.readUInt32LE(a + 52)).toBe(9); // mtimensec
    expect(b.readUInt32LE(a + 60)).toBe(0o100644);
    expect(b.readUInt32LE(a + 64)).toBe(2);
    expect(b.readUInt32LE(a + 76)).toBe(0x103);
    expect(reply.lookups).toBe(1);
  });

  it('answers a missing name with nodeid 0 and a lifetime', () => {
    reply.begin(1, 0);
    reply.negative(10);
    expect(reply.bytes.readBigUInt64LE(16)).toBe(0n);
    expect(reply.bytes.readBigUInt64LE(32)).toBe(10n);
    expect(reply.lookups).toBe(0);
  });

  it('pads directory entries to eight bytes, zeroes the padding and stops when full', () => {
    reply.begin(1, 0);
    reply.bytes.fill(0xff);
    reply.directory(80);
    const names = Buffer.from('abcdefghi');
    expect(reply.addDirent(5, 8, 1, names, 0, 9)).toBe(true);
    expect(reply.addDirent(6, 4, 2, names, 0, 1)).toBe(true);
    expect(reply.addDirent(7, 4, 3, names, 0, 1)).toBe(false);
    expect(reply.length).toBe(16 + 40 + 32);
    expect(reply.bytes.readUInt32LE(0)).toBe(reply.length);
    expect(reply.bytes.subarray(16 + 24, 16 + 40).toString('latin1')).toBe('abcdefghi\0\0\0\0\0\0\0');
    expect(reply.bytes.readBigUInt64LE(16 + 40)).toBe(6n);
  });

  it('answers both forms of GETXATTR', () => {
    const value = Buffer.from('value');
    reply.begin(1, 0);
    reply.xattr(value, 0);
    expect(reply.bytes.readUInt32LE(16)).toBe(5);
    reply.begin(1, 0);
    reply.xattr(value, 4);
    expect(reply.errno).toBe(errno.ERANGE);
    reply.begin(1, 0);
    reply.xattr(value, 5);
    expect(reply.bytes.subarray(16, reply.length).toString()).toBe('value');
  });

  it('turns errors that the kernel would not take into EIO', () => {
    reply.begin(1, 0);
    reply.error(5000);
    expect(reply.bytes.readInt32LE(4)).toBe(-errno.EIO);
  });
});

describe('INIT', () => {
  const wanted = { capabilities: [INIT.MAX_PAGES, INIT.PASSTHROUGH, INIT.DO_READDIRPLUS] };

  it('agrees on what both sides have', () => {
    const flags = (1 << INIT.INIT_EXT) | (1 << INIT.MAX_PAGES) | (1 << INIT.ASYNC_READ);
    const flags2 = 1 << (INIT.PASSTHROUGH - 32);
    const { reply, negotiated } = answerInit(request(26, 0, words(7, 41, 131072, flags >>> 0, flags2)), wanted);
    expect(negotiated?.minor).toBe(41);
    expect(negotiated?.capabilities.has(INIT.PASSTHROUGH)).toBe(true);
    expect(negotiated?.capabilities.has(INIT.DO_READDIRPLUS)).toBe(false);
    expect(reply.length).toBe(16);
    expect(reply[5]).toBe(1 << 20); // max_write
    expect(reply[7]).toBe(256); // max_pages
    expect(reply[8]).toBe(flags2);
    expect(reply[9]).toBe(1); // max_stack_depth
  });

  it('speaks the short form with an old kernel', () => {
    const { reply, negotiated } = answerInit(request(26, 0, words(7, 19, 65536, 1)), wanted);
    expect(reply.length).toBe(6);
    expect(negotiated?.maxWrite).toBe(32 * 4096);
  });

  it('lets a newer major version ask again, and refuses one that is too old', () => {
    expect(answerInit(request(26, 0, words(8, 0, 0, 0)), wanted).negotiated).toBeUndefined();
    expect(() => answerInit(request(26, 0, words(7, 18, 0, 0)), wanted)).toThrow(ErrnoError);
  });
});
