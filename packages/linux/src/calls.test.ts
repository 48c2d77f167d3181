import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  AT_FDCWD,
  MS,
  O,
  RENAME,
  close,
  copyFileRange,
  fallocate,
  FALLOC,
  fchmodat,
  fchownat,
  fileSize,
  mkdirat,
  mount,
  openat,
  openat2,
  preadRaw,
  renameat2,
  syncfsAsync,
  symlinkat,
  statx,
  umount2,
} from './index.js';

let folder: string;
let dir: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-linux-'));
  dir = openat(AT_FDCWD, folder, O.RDONLY | O.DIRECTORY);
});
afterEach(() => {
  close(dir);
  rmSync(folder, { recursive: true });
});

describe('copies', () => {
  it('copies a range, punches a hole and tells the length', () => {
    writeFileSync(join(folder, 'from'), Buffer.alloc(8192, 'x'));
    const from = openSync(join(folder, 'from'), 'r');
    const to = openSync(join(folder, 'to'), 'w+');
    expect(copyFileRange(from, to, 8192)).toBe(8192);
    expect(copyFileRange(from, to, 1)).toBe(0);
    fallocate(to, FALLOC.KEEP_SIZE | FALLOC.PUNCH_HOLE, 0, 4096);
    const bytes = new Uint8Array(2);
    expect(preadRaw(to, bytes, 2, 4095)).toBe(2);
    expect([...bytes]).toEqual([0, 'x'.charCodeAt(0)]);
    expect(fileSize(to)).toBe(8192);
    closeSync(from);
    closeSync(to);
  });
});

describe('attributes', () => {
  it('sets modes with the set-user-ID bit, and owners of links, not of their targets', ({ skip }) => {
    writeFileSync(join(folder, 'f'), '');
    fchmodat(dir, 'f', 0o4711);
    expect(statSync(join(folder, 'f')).mode & 0o7777).toBe(0o4711);
    if (process.geteuid?.() !== 0) skip('needs root: chown(2)');
    symlinkat('f', dir, 'link');
    fchownat(dir, 'link', 12, 34);
    expect(statx(dir, 'link', 0x100)).toMatchObject({ uid: 12, gid: 34 });
    expect(statx(dir, 'f')).toMatchObject({ uid: 0 });
  });
});

describe('calls by number', () => {
  it('pass on paths that nothing else keeps alive, while memory is being collected', async () => {
    const long = 'n'.repeat(200);
    mkdirat(dir, `${long}0`, 0o700);
    for (let i = 0; i < 5000; i++) {
      renameat2(dir, `${long}${i}`, dir, `${long}${i + 1}`, RENAME.NOREPLACE);
      if (i % 10 === 0) close(openat2(dir, `${long}${i + 1}`, O.PATH, 0));
      if (i % 1000 === 0) await turn();
    }
    expect(statSync(join(folder, `${long}5000`)).isDirectory()).toBe(true);
  });
});

describe('syncfsAsync', () => {
  it('ends well on an open descriptor and rejects on none', async () => {
    await syncfsAsync(dir);
    await expect(syncfsAsync(-1)).rejects.toMatchObject({ code: 'EBADF', syscall: 'syncfs' });
  });
});

describe('mount', () => {
  it('binds and unbinds a folder, naming the target of a failure', ({ skip }) => {
    if (process.geteuid?.() !== 0) skip('needs root: mount(2)');
    mkdirat(dir, 'a', 0o700);
    mkdirat(dir, 'b', 0o700);
    writeFileSync(join(folder, 'a/f'), 'bound');
    mount(join(folder, 'a'), join(folder, 'b'), '', MS.BIND);
    try {
      expect(readFileSync(join(folder, 'b/f'), 'utf8')).toBe('bound');
    } finally {
      umount2(join(folder, 'b'));
    }
    const target = join(folder, 'b');
    expect(() => umount2(target)).toThrow(/umount2 .*b": EINVAL/);
  });
});

describe('worker threads', () => {
  it('load the module beside each other and keep their own errno', async () => {
    const url = new URL('../dist/index.js', import.meta.url).href;
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData).then(({ AT_FDCWD, openat, readRaw }) => {
        let code = '';
        for (let i = 0; i < 2000; i++) {
          try { openat(AT_FDCWD, '/missing', 0); } catch (error) { code = error.code; }
          if (code !== 'ENOENT' || readRaw(-1, new Uint8Array(1), 1) !== -9) { code = 'mixed up'; break; }
        }
        parentPort.postMessage(code);
      });`;
    const codes = await Promise.all(
      [1, 2, 3].map(
        () =>
          new Promise((resolve, reject) => {
            const worker = new Worker(script, { eval: true, workerData: url });
            worker.on('message', resolve);
            worker.on('error', reject);
          }),
      ),
    );
    expect(codes).toEqual(['ENOENT', 'ENOENT', 'ENOENT']);
  });
});
