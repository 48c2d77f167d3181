import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { doctor } from '../doctor.js';
import { compareVersions } from './check.js';
import { filesystemChecks } from './filesystems.js';
import { tryKernelMount } from './kernel.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-doctor-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('compares versions by number', () => {
  expect(
    [
      compareVersions('6.18.44-x', '6.9'),
      compareVersions('6.8', '6.9'),
      compareVersions('6.9', '6.9.0'),
      compareVersions('20.9.1', '20.12'),
    ].map(Math.sign),
  ).toEqual([1, -1, 0, -1]);
});

const NAMES = [
  'Node.js',
  'Linux kernel',
  '/dev/fuse',
  'fusermount3',
  'Open files limit',
  'Mounts limit',
  'Kernel overlayfs',
  'EROFS',
].concat(
  [
    'FUSE over io_uring',
    'fuse-native',
    'Kernel mounts',
    'Store folder',
    'Reflinks',
    'Idmapped mounts',
    'Project quotas',
    'Mounts',
  ],
  ['User namespaces', 'Subordinate ids', 'containerd', 'podman', 'buildah'],
);

it('says something of everything, and leaves nothing behind', async () => {
  const checks = await doctor(folder);
  for (const name of NAMES) {
    expect(checks.map((check) => check.name)).toContain(name);
  }
  for (const { detail, use, hint, ok } of checks) {
    for (const text of [detail, use ?? '.']) expect(text).toMatch(/[.!]$/);
    expect(ok === false && hint === undefined && !detail.startsWith('Tried and refused')).toBe(false);
  }
  expect(readdirSync(folder)).toEqual([]);
});

it('does not speak of FUSE where that cannot be mounted', () => {
  const uses = (fuse: boolean): (string | undefined)[] =>
    [...filesystemChecks(fuse), tryKernelMount(folder, fuse)].filter(({ ok }) => ok !== true).map(({ use }) => use);
  const user = vi.spyOn(process, 'geteuid').mockReturnValue(1000);
  try {
    for (const use of uses(true)) expect(use).toContain('Mounts go through FUSE');
    expect(uses(false)).not.toEqual([]);
    for (const use of uses(false))
      expect(use).toMatch(/^Nothing can be mounted: `layerfs checkout` writes plain files/);
  } finally {
    user.mockRestore();
  }
});

it('bears a store that is not there yet', async () => {
  const store = (await doctor(join(folder, 'not/yet'))).find((check) => check.name === 'Store folder');
  expect(store?.detail).toContain('(not made yet)');
});
