import { deflateRawSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { createDecoder } from './decoder.js';
import { inflateHead } from './inflate.js';

/** Decodes in pieces of input and rooms of output of the given sizes. */
function decode(bytes: Uint8Array, step: number, room: number): Buffer {
  const pieces: Buffer[] = [];
  const memory = Buffer.alloc(room);
  const decoder = createDecoder('gzip', {
    room: () => memory,
    advance: (length) => pieces.push(Buffer.from(memory.subarray(0, length))),
  });
  try {
    for (let at = 0; at < bytes.length; at += step) decoder.push(bytes.subarray(at, at + step), false);
    decoder.push(new Uint8Array(), true);
  } finally {
    decoder.close();
  }
  return Buffer.concat(pieces);
}

const text = Buffer.from(Array.from({ length: 5000 }, (_, i) => `line ${i * i}\n`).join(''));
const packed = gzipSync(text);

describe('gzip into memory of our own', () => {
  test.each([
    [1, 1],
    [1, 4096],
    [7, 1000],
    [4096, 1],
    [packed.length, 1 << 20],
  ])('pieces of %d bytes, room for %d', (step, room) => {
    expect(decode(packed, step, room).equals(text)).toBe(true);
  });

  test('several members, wherever they meet', () => {
    const two = Buffer.concat([packed, gzipSync('second'), gzipSync('')]);
    for (const step of [1, packed.length, packed.length + 3, two.length]) {
      expect(decode(two, step, 1 << 16).toString()).toBe(`${text.toString()}second`);
    }
  });

  test('zeros behind the end are no data', () => {
    expect(decode(Buffer.concat([packed, Buffer.alloc(1024)]), 100, 4096).equals(text)).toBe(true);
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a cut', packed.subarray(0, -1)],
    ['a cut in the middle', packed.subarray(0, packed.length / 2)],
    ['no gzip', Buffer.from('plain text that is no gzip')],
    ['a wrong checksum', Buffer.concat([packed.subarray(0, -8), Buffer.alloc(8)])],
    ['raw deflate', deflateRawSync(text)],
  ])('%s is an error', (_, bytes) => {
    for (const step of [1, 512, 1 << 20])
      expect(() => decode(bytes, step, 4096)).toThrow(/unexpected end|incorrect|invalid/);
  });

  test('a bomb costs no more than the room that it is given', () => {
    const bomb = gzipSync(Buffer.alloc(64 << 20));
    const before = process.memoryUsage().rss;
    const { bytes, error } = inflateHead(bomb, 'gzip', 65536);
    expect([bytes.length, error]).toEqual([65536, undefined]);
    expect(process.memoryUsage().rss - before).toBeLessThan(16 << 20);
  });
});

test('a head that is cut gives what it has, and says why no more', () => {
  const { bytes, error } = inflateHead(packed.subarray(0, packed.length / 2), 'gzip', 1 << 20);
  expect(bytes.length).toBeGreaterThan(1000);
  expect(text.subarray(0, bytes.length).equals(bytes)).toBe(true);
  expect(error?.message).toMatch(/unexpected end/);
});

test('zstd: the memory of a piece may be used again for the next', () => {
  // A frame of one raw block: magic, a single segment with its size, the block's header, and the text.
  const frame = (data: string): Buffer =>
    Buffer.from([
      0x28,
      0xb5,
      0x2f,
      0xfd,
      0x20,
      data.length,
      (data.length << 3) | 1,
      data.length >> 5,
      0,
      ...Buffer.from(data),
    ]);
  const parts = Array.from({ length: 20 }, (_, i) => `frame ${i}, which lies in several pieces\n`);
  const bytes = Buffer.concat(parts.map(frame));
  const found: Buffer[] = [];
  const room = Buffer.alloc(4096);
  const decoder = createDecoder('zstd', {
    room: () => room,
    advance: (length) => found.push(Buffer.from(room.subarray(0, length))),
  });
  const memory = Buffer.alloc(7);
  for (let at = 0; at < bytes.length; at += memory.length) {
    const length = bytes.copy(memory, 0, at);
    decoder.push(memory.subarray(0, length), at + length === bytes.length);
    memory.fill(0xff);
  }
  decoder.close();
  expect(Buffer.concat(found).toString()).toBe(parts.join(''));
});
