import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { chainIDs, digestBytes, digestFromBytes, digestHex, parseDiffID, parseDigest } from './digest.js';

const A = `sha256:${'a'.repeat(64)}`;
const B = `sha256:${'b'.repeat(64)}`;
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

describe('digests', () => {
  test('accepts sha256 and gives its hex and bytes back', () => {
    const digest = parseDigest(`sha256:${'0123456789abcdef'.repeat(4)}`);
    expect(digestHex(digest)).toBe('0123456789abcdef'.repeat(4));
    expect(digestFromBytes(digestBytes(digest))).toBe(digest);
  });

  test.each([
    '',
    'sha256:',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}`,
    `${A}\n`,
    `sha256:../${'a'.repeat(61)}`,
    A.slice(7),
  ])('refuses %j', (text) => {
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  });

  test('names another algorithm as unsupported, not as malformed', () => {
    expect(() => parseDigest(`sha512:${'a'.repeat(128)}`)).toThrow(expect.objectContaining({ code: 'unimplemented' }));
  });

  test('refuses raw hashes of another length', () => {
    expect(() => digestFromBytes(new Uint8Array(31))).toThrow(/32 bytes/);
  });

  test('chainIDs: the first is the diffID, each next hashes "chain diffID" as text', () => {
    const [first, second] = chainIDs([parseDiffID(A), parseDiffID(B)], sha256);
    expect(first).toBe(A);
    expect(second).toBe(`sha256:${createHash('sha256').update(`${A} ${B}`).digest('hex')}`);
    expect(chainIDs([], sha256)).toEqual([]);
  });
});
