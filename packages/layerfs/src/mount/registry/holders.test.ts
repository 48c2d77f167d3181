import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeHolders, findHolders } from './holders.js';
import type { MountEntry } from './mountinfo.js';

let folder: string;
let mount: MountEntry;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'layerfs-holders-')));
  mkdirSync(join(folder, 'inner'));
  mount = { id: 1 << 30, parent: 1, device: '0:0', mountpoint: folder, type: 'fuse.layerfs', source: 'x', options: [] };
});
afterAll(() => rmSync(folder, { recursive: true }));

it('finds the process that works in a folder of the mount, and no other', async () => {
  const child = spawn('sleep', ['60'], { cwd: join(folder, 'inner') });
  await once(child, 'spawn');
  try {
    expect(findHolders(mount, [mount])).toEqual([
      { pid: child.pid, command: 'sleep 60', what: 'cwd', path: join(folder, 'inner') },
    ]);
  } finally {
    child.kill();
    await once(child, 'exit');
  }
  expect(findHolders(mount, [mount])).toEqual([]);
});

it('finds mounts on top', () => {
  const proc = { ...mount, id: mount.id + 1, mountpoint: `${folder}/proc`, type: 'proc' };
  const holders = findHolders(mount, [mount, proc]);
  expect(describeHolders(holders)).toBe(`proc mount: on ${folder}/proc`);
});

it('puts a process on one line, however much it holds', () => {
  const holder = { pid: 7, command: 'sh', path: '/m/a' };
  const text = describeHolders(['cwd', 'fd 3', 'fd 4', 'mapped', 'fd 5'].map((what) => ({ ...holder, what })));
  expect(text).toBe('7 (sh): cwd /m/a, fd 3 /m/a, fd 4 /m/a and 2 more');
});
