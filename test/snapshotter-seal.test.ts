/** The process that makes layers of what containerd unpacked. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openStore } from '../packages/layerfs/dist/index.js';
import { expect, test } from 'vitest';
import { SealProcess } from '../packages/snapshotter/dist/seal/process.js';

test('what comes while a process ends is sealed by another', { timeout: 60_000 }, async () => {
  const work = mkdtempSync(join(tmpdir(), 'layerfs-seal-'));
  const root = join(work, 'store');
  const sealing = new SealProcess(root);
  try {
    await (await openStore({ root })).close();
    const seal = async (name: string): Promise<number> => {
      const folder = join(work, name);
      mkdirSync(folder);
      writeFileSync(join(folder, name), name);
      return (await sealing.seal({ folder, below: [], label: name })).diffIDs.length;
    };
    expect(await seal('one')).toBe(1);
    const ending = sealing.end();
    expect(await seal('two')).toBe(1);
    await ending;
    expect(await seal('three')).toBe(1);
  } finally {
    await sealing.end();
    rmSync(work, { recursive: true, force: true });
  }
});
