import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hex, hexBytes, latin1, latin1Bytes, printable, utf8ToLatin1, writeLatin1 } from './bytes.js';

describe('byte strings', () => {
  test('every byte array survives latin1 and hex, whatever its length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(latin1Bytes(latin1(bytes))).toEqual(bytes);
        expect(hexBytes(hex(bytes))).toEqual(bytes);
      }),
    );
    const long = Uint8Array.from({ length: 100_001 }, (_, i) => i & 0xff);
    expect(latin1Bytes(latin1(long))).toEqual(long);
    expect(latin1(long, 250, 258)).toBe('\xfa\xfb\xfc\xfd\xfe\xff\x00\x01');
  });

  test('a char above 255 is no byte', () => {
    expect(() => latin1Bytes('ā')).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    expect(() => writeLatin1('aā', new Uint8Array(8), 1)).toThrow(/not a byte string/);
  });

  test.each(['a', 'abc', 'zz', '0x'])('refuses %j as hex', (text) => {
    expect(() => hexBytes(text)).toThrow(/hex/);
  });

  test('printable: text stays text, all else is escaped', () => {
    expect(printable(utf8ToLatin1('aé漢😀 b'))).toBe('aé漢😀 b');
    expect(printable('\xff\xc3a\\\n\x1b[31m')).toBe('\\xff\\xc3a\\\\\\x0a\\x1b[31m');
    // Overlong forms, surrogates, values above U+10FFFF, cut sequences.
    expect(printable('\xc0\xaf')).toBe('\\xc0\\xaf');
    expect(printable('\xe0\x80\xaf')).toBe('\\xe0\\x80\\xaf');
    expect(printable('\xed\xa0\x80')).toBe('\\xed\\xa0\\x80');
    expect(printable('\xf4\x90\x80\x80')).toBe('\\xf4\\x90\\x80\\x80');
    expect(printable('\xe6\xbc')).toBe('\\xe6\\xbc');
    // Right-to-left override and C1 controls steer a terminal.
    expect(printable(utf8ToLatin1('\u202e'))).toBe('\\xe2\\x80\\xae');
    expect(printable(utf8ToLatin1('\u009b'))).toBe('\\xc2\\x9b');
  });

  test('printable never maps two names to one text', () => {
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 4 }).map((bytes) => latin1(bytes)),
        (name) => {
          const shown = printable(name);
          expect(seen.get(shown) ?? name).toBe(name);
          seen.set(shown, name);
        },
      ),
      { numRuns: 5000 },
    );
  });
});
