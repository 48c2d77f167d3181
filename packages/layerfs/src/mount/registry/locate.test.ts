import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { resolveOutside } from './locate.js';

let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'layerfs-locate-')));
  mkdirSync(join(folder, 'mnt'));
  symlinkSync('mnt', join(folder, 'link'));
  symlinkSync('elsewhere', join(folder, 'mnt/inner'));
  symlinkSync('loop', join(folder, 'loop'));
});
afterAll(() => rmSync(folder, { recursive: true }));

it('follows links to a mount, but none inside it', () => {
  const mounts = [join(folder, 'mnt')];
  expect(resolveOutside(join(folder, 'link/inner/x'), mounts)).toBe(join(folder, 'mnt/inner/x'));
  expect(resolveOutside(join(folder, 'mnt/inner/x'), [])).toBe(join(folder, 'mnt/elsewhere/x'));
});

it('keeps what does not exist, and ends on loops', () => {
  expect(resolveOutside(join(folder, 'none/at/all'), [])).toBe(join(folder, 'none/at/all'));
  expect(resolveOutside(join(folder, 'loop/x'), [])).toBe(join(folder, 'loop/x'));
});
