import { expect, test } from 'vitest';
import { safeJson, safeText } from './output.js';

test('nothing in a text can steer the terminal; line ends, tabs and other alphabets stay', () => {
  expect(safeText('a\u001b[2Jb\u0007\r\u009b0m')).toBe(String.raw`a\u001b[2Jb\u0007\u000d\u009b0m`);
  expect(safeText('left\u202eright\u2028\ufeff')).toBe(String.raw`left\u202eright\u2028\ufeff`);
  expect(safeText('one\n\ttwo żółć 日本 👍')).toBe('one\n\ttwo żółć 日本 👍');
});

test('JSON cannot steer the terminal either, and stays the same value', () => {
  const value = { name: 'a\u001b]0;x\u0007\u009b\u202e', list: [1, 'ł'] };
  const text = safeJson(value, 2);
  expect(text).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u);
  expect(JSON.parse(text)).toEqual(value);
});
