import { cpSync, fdatasyncSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RecordFile } from './record-file.js';

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  return { ...fs, fdatasyncSync: vi.fn<typeof fs.fdatasyncSync>(fs.fdatasyncSync) };
});

let folder: string;
let path: string;
let file: RecordFile;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-log-'));
  path = join(folder, 'records');
  RecordFile.make(path, 'create table things (key text primary key, value text not null) strict', folder);
  file = new RecordFile(path, { sole: true });
  vi.mocked(fdatasyncSync).mockClear();
});
afterEach(() => {
  file.close();
  rmSync(folder, { recursive: true, force: true });
});

const put = (key: string): void => file.transaction(() => file.put('things', key, 'x'));
const keys = (of: RecordFile): unknown[] => of.select('select row(key) from things order by key').flat();

/** The records as they are found when the process dies now: the index of the log dies with it. */
function afterCrash(): unknown[] {
  const copy = join(folder, 'copy');
  cpSync(path, copy);
  cpSync(`${path}-wal`, `${copy}-wal`);
  const found = new RecordFile(copy, { sole: true });
  try {
    expect(found.check()).toBeUndefined();
    return keys(found);
  } finally {
    found.close();
    rmSync(copy);
  }
}

test('the log has its size from the beginning, keeps it, and what is in it is found', async () => {
  const { size } = statSync(`${path}-wal`);
  expect(size).toBeGreaterThan(4 << 20);
  expect(afterCrash()).toEqual([]);
  // More than there is room for: it is written from its beginning again.
  const names = Array.from({ length: 1500 }, (_, i) => `key ${String(i).padStart(4, '0')}`);
  for (const [i, name] of names.entries()) {
    put(name);
    if (i % 300 === 299) expect(afterCrash()).toEqual(names.slice(0, i + 1));
  }
  await file.synced();
  expect(statSync(`${path}-wal`).size).toBe(size);
});

test('all who wait at a moment share one wait, and who comes later waits again', async () => {
  for (let i = 0; i < 20; i++) put(`${i}`);
  expect(fdatasyncSync).not.toHaveBeenCalled();
  await Promise.all(Array.from({ length: 20 }, () => file.synced()));
  expect(fdatasyncSync).toHaveBeenCalledTimes(1);
  put('late');
  await file.synced();
  expect(fdatasyncSync).toHaveBeenCalledTimes(2);
});

test('after waiting failed nobody is told that something is on disk, and no more is taken', async () => {
  vi.mocked(fdatasyncSync).mockImplementationOnce(() => {
    throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
  });
  put('a');
  const [one, two] = await Promise.allSettled([file.synced(), file.synced()]);
  for (const each of [one, two]) expect(each).toMatchObject({ status: 'rejected', reason: { code: 'EIO' } });
  await expect(file.synced()).rejects.toThrow('EIO');
  expect(() => put('b')).toThrow('EIO');
  expect(keys(file)).toEqual(['a']);
});

test('what is waited for when it is closed is on disk', async () => {
  put('a');
  const waiting = file.synced();
  file.close();
  await waiting;
  expect(fdatasyncSync).toHaveBeenCalledTimes(1);
  file = new RecordFile(path, { sole: true });
  expect(keys(file)).toEqual(['a']);
});
