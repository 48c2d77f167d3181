import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { isOpenElsewhere } from './lease.js';

it('says whether a file is open anywhere else, and leaves no lease behind', () => {
  const folder = mkdtempSync(join(tmpdir(), 'layerfs-lease-'));
  try {
    const file = join(folder, 'file');
    writeFileSync(file, 'x', { mode: 0o400 });
    const fd = openSync(file, 'r');
    expect(isOpenElsewhere(fd)).toBe(false);
    const other = openSync(file, 'r');
    expect(isOpenElsewhere(fd)).toBe(true);
    closeSync(other);
    expect(isOpenElsewhere(fd)).toBe(false);
    closeSync(fd);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
