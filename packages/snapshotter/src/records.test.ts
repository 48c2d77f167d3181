import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Records, type SnapshotRecord } from './records.js';

let folder: string;
let records: Records;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-records-'));
  for (const name of ['meta', 'staging']) mkdirSync(join(folder, name));
  records = new Records({ meta: join(folder, 'meta'), staging: join(folder, 'staging') });
});
afterEach(() => {
  records.close();
  rmSync(folder, { recursive: true });
});

function reopen(): void {
  records.close();
  records = new Records({ meta: join(folder, 'meta'), staging: join(folder, 'staging') });
}

function record(name: string, id = '1'): SnapshotRecord {
  return { id, kind: 'active', name, labels: {}, created: '1', updated: '1', children: 0 };
}

function put(...names: string[]): void {
  records.transaction((writer) => {
    for (const name of names) writer.put(record(name, writer.nextID()));
  });
}

function remove(...names: string[]): void {
  records.transaction((writer) => {
    for (const name of names) writer.remove(name);
  });
}

// So many that not all of them are kept in memory, or one that is too long for that.
const MANY = Array.from({ length: 3000 }, (_, i) => `name ${i}`);
const LONG = 'x'.repeat(60_000);

it.each([
  ['few', ['a', 'b', 'c']],
  ['many', MANY],
  ['a long one', ['a', LONG, 'c']],
])('finds what is there and nothing else: %s', (_, names) => {
  const [first, second] = names;
  put(...names);
  for (const open of [() => undefined, reopen]) {
    open();
    for (const name of names) expect(records.get(name)?.name).toBe(name);
    expect(records.get('another')).toBeUndefined();
  }
  remove(first);
  put('another');
  for (const open of [() => undefined, reopen]) {
    open();
    expect(records.get(first)).toBeUndefined();
    expect(records.get(second)?.name).toBe(second);
    expect(records.get('another')?.name).toBe('another');
  }
  remove(...names);
  put(first);
  for (const name of names) expect(records.get(name)?.name).toBe(name === first ? first : undefined);
  expect(records.all().map(({ name }) => name)).toEqual(expect.arrayContaining(['another', first]));
  expect(records.all()).toHaveLength(2);
});

it('gives no number twice, whatever becomes of the transaction', () => {
  const given: number[] = [];
  const next = (action: () => void = () => undefined): void =>
    records.transaction((writer) => {
      const id = writer.nextID();
      given.push(Number(id));
      writer.put(record(`name ${id}`, id));
      action();
    });
  const fail = (): never => {
    throw new Error('failed');
  };
  next();
  next();
  reopen();
  next();
  expect(() => next(fail)).toThrow('failed');
  // Gives none itself, and what was given before is recorded all the same.
  records.transaction((writer) => writer.remove('name 1'));
  reopen();
  next();
  expect(given).toEqual([1, 2, 3, 4, 5]);
});
