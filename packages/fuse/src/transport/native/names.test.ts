import { describe, expect, it } from 'vitest';
import { bytesOf, isLost, textOf } from './names.js';

const latin1 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

describe('names as text', () => {
  it('leaves text as it is', () => {
    for (const text of ['', 'plain', 'Grüße', '日本', '\u{1f600}x', '\ufffd']) {
      expect(textOf(latin1(text))).toBe(text);
      expect(bytesOf(text)).toBe(latin1(text));
    }
  });

  it('shows bytes that are no text one by one, and leads back to them', () => {
    expect(textOf('a\xff\xfe\n')).toBe('a\uefff\ueffe\n');
    expect(bytesOf('a\uefff\ueffe\n')).toBe('a\xff\xfe\n');
    // Too short, overlong, a surrogate, beyond Unicode, cut off.
    for (const bytes of ['\xc3', '\xc0\xaf', '\xed\xa0\x80', '\xf5\x80\x80\x80', '\xf4\x90\x80\x80', 'x\xe2\x82']) {
      const text = textOf(bytes);
      expect(Buffer.from(text, 'utf8').toString('utf8')).toBe(text);
      expect(text).not.toContain('\ufffd');
      expect(bytesOf(text)).toBe(bytes);
    }
  });

  it('gives no two names one text, not even names with the private characters in them', () => {
    const twins = ['\xff', latin1('\uefff')];
    expect(textOf(twins[0])).not.toBe(textOf(twins[1]));
    for (const name of twins) expect(bytesOf(textOf(name))).toBe(name);
  });

  it('is the same there and back for any bytes', () => {
    let seed = 7;
    for (let round = 0; round < 20_000; round++) {
      let name = '';
      for (let i = 0; i < round % 12; i++) {
        seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
        // Mostly bytes that could be parts of longer characters.
        name += String.fromCharCode(seed & 0x400 ? 0x80 + ((seed >>> 8) % 0x80) : [0xee, 0xbe, 0xef, 0x41][seed % 4]);
      }
      expect(bytesOf(textOf(name))).toBe(name);
    }
  });

  it('knows a name whose bytes the binding lost', () => {
    expect(isLost('a\ufffd')).toBe(true);
    expect(isLost('a\uefff')).toBe(false);
  });
});
