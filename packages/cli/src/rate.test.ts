import { expect, test } from 'vitest';
import { Rate } from './rate.js';

test('a rate is that of the last seconds, and none is told at first', () => {
  const rate = new Rate(5000, 0);
  rate.seen(5100, 100);
  expect(rate.perSecond()).toBe(0);
  rate.seen(6000, 1000);
  expect(rate.perSecond()).toBe(1000);
  for (let at = 1100; at <= 9000; at += 100) rate.seen(6000 + (at - 1000) * 10, at);
  expect(rate.perSecond()).toBe(10_000);
  // A pause.
  for (let at = 9100; at <= 20_000; at += 100) rate.seen(86_000, at);
  expect(rate.perSecond()).toBe(0);
});

test('what begins anew has no negative rate', () => {
  const rate = new Rate(0, 0);
  rate.seen(100_000, 1000);
  rate.seen(10, 2000);
  expect(rate.perSecond()).toBe(0);
  rate.seen(2010, 3000);
  expect(rate.perSecond()).toBe(2000);
});
