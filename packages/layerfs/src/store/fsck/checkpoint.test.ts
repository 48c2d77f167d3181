import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { DiffID } from '../../core/digest.js';
import { Checkpoint } from './checkpoint.js';
import type { Job } from './jobs.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-checkpoint-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const diffID = `sha256:${'1'.repeat(64)}` as DiffID;
const layer: Job = { kind: 'layer', diffID };
const objects: Job = { kind: 'objects', prefix: 'ab' };
const fact = { size: 1, contentSize: 2, entries: 3, objects: 4 };

it('remembers what was sound, with what it has shown, and nothing that had a problem', () => {
  const first = Checkpoint.open(folder, false);
  expect(first.resumed).toBe(false);
  first.add(layer, { findings: [], items: 1, layer: fact });
  first.add(objects, { findings: [{ kind: 'object-damaged', path: 'p', expected: '', found: '' }], items: 1 });
  first.save();
  const second = Checkpoint.open(folder, false);
  expect([second.resumed, second.begun, second.has(layer), second.has(objects)]).toEqual([
    true,
    first.begun,
    true,
    false,
  ]);
  expect(second.facts.layers.get(diffID)).toEqual(fact);
  expect(Checkpoint.open(folder, true).has(layer)).toBe(false);
  second.remove();
  expect(Checkpoint.open(folder, false).resumed).toBe(false);
});

it('takes one that is damaged for none', () => {
  const checkpoint = Checkpoint.open(folder, false);
  checkpoint.add(layer, { findings: [], items: 1, layer: fact });
  checkpoint.save();
  const file = join(folder, 'checkpoint.json');
  const text = readFileSync(file, 'utf8');
  for (const spoilt of [
    '',
    '{',
    '[]',
    'null',
    text.slice(0, 40),
    text.replace('"format":1', '"format":2'),
    text.replace(/"layers":\{.*?\}\}/, '"layers":null'),
    text.replace(/"blobs":\{\}/, '"blobs":{"x":null}'),
  ]) {
    writeFileSync(file, spoilt);
    const opened = Checkpoint.open(folder, false);
    expect(opened.facts.blobs.size).toBe(0);
  }
});
