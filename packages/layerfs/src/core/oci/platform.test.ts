import { expect, test } from 'vitest';
import { formatPlatform, parsePlatform, platformMatch } from './platform.js';

test.each([
  ['linux/amd64', 'linux/amd64'],
  ['amd64', 'linux/amd64'],
  ['linux/x86_64', 'linux/amd64'],
  ['linux/aarch64', 'linux/arm64'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/arm/6', 'linux/arm/v6'],
  ['linux/armhf', 'linux/arm/v7'],
  ['Windows/AMD64', 'windows/amd64'],
])('%s is %s', (text, normal) => {
  expect(formatPlatform(parsePlatform(text))).toBe(normal);
});

test.each(['', 'linux/', 'a/b/c/d', 'linux/am d64', 'linux/\u0000'])('%j is no platform', (text) => {
  expect(() => parsePlatform(text)).toThrow(/platform/);
});

test.each([
  ['linux/amd64', 'linux/amd64', true],
  ['linux/amd64', 'linux/arm64', false],
  ['linux/amd64', 'windows/amd64', false],
  ['linux/arm64', 'linux/arm64/v8', true],
  ['linux/arm/v7', 'linux/arm/v6', true],
  ['linux/arm/v6', 'linux/arm/v7', false],
  ['linux/amd64', 'linux/amd64/v3', false],
  ['linux/amd64/v3', 'linux/amd64', true],
])('on %s, an image for %s serves: %s', (wanted, offered, serves) => {
  expect(platformMatch(parsePlatform(wanted), parsePlatform(offered)) > 0).toBe(serves);
});

test('the newest variant that serves is the best', () => {
  const v7 = parsePlatform('linux/arm/v7');
  const scores = ['v5', 'v6', 'v7'].map((variant) => platformMatch(v7, parsePlatform(`linux/arm/${variant}`)));
  expect(scores).toEqual(scores.toSorted((a, b) => a - b));
});
