/** Large reads that the serving process answers: through a pipe, which must hold nothing of an answer that failed. */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, readdirSync, readlinkSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { spawnServer } from '../packages/layerfs/dist/mount/mount.js';
import { unmount } from '../packages/layerfs/dist/mount/unmount.js';
import { missing } from './support/needs.js';
import { TRANSPORTS } from './support/transports.js';
import { TreeSource } from './support/tree-source.js';

const reason =
  missing('root', 'fuse') ?? (TRANSPORTS.includes('kernel') ? undefined : 'LAYERFS_TEST_TRANSPORT leaves it out');
if (reason !== undefined) console.warn(`skipped: large reads of a mount: ${reason}`);

const CHUNK = 128 << 10;
const WHOLE = randomBytes(24 * CHUNK + 1);
const CUT = randomBytes(8 * CHUNK);

describe.skipIf(reason !== undefined)('large reads without passthrough', () => {
  let source: TreeSource;
  let at: string;
  let pid: number;
  beforeAll(async () => {
    source = new TreeSource()
      .add('whole', { mode: 0o100644, content: WHOLE })
      .add('cut', { mode: 0o100644, content: CUT });
    await source.finish();
    at = source.newFolder();
    ({ pid } = await spawnServer(source, 'test:latest', at, { passthrough: false }));
  });
  afterAll(async () => {
    await unmount(source.root, at, { lazy: true });
    source.remove();
  });

  /** How many pipes the server has open. */
  function pipes(): number {
    const folder = `/proc/${String(pid)}/fd`;
    return readdirSync(folder).filter((fd) => {
      try {
        return readlinkSync(join(folder, fd)).startsWith('pipe:');
      } catch {
        // Closed meanwhile.
        return false;
      }
    }).length;
  }

  test('go through one pipe, which is closed when nothing is to be done', async () => {
    const before = pipes();
    const fd = openSync(join(at, 'whole'), 'r');
    const [chunk, seen] = [Buffer.alloc(CHUNK), new Set<number>()];
    for (let offset = 0; offset < WHOLE.length; offset += CHUNK) {
      const n = readSync(fd, chunk, 0, CHUNK, offset);
      expect(chunk.subarray(0, n).equals(WHOLE.subarray(offset, offset + CHUNK))).toBe(true);
      seen.add(pipes() - before);
    }
    closeSync(fd);
    // Both ends of one.
    expect(seen).toContain(2);
    expect(Math.max(...seen)).toBe(2);
    for (let i = 0; pipes() > before && i < 500; i++) await sleep(20);
    expect(pipes()).toBe(before);
  });

  test('give EIO where an object was cut while it is open, and what follows is right', () => {
    const file = join(at, 'cut');
    const fd = openSync(file, 'r');
    const chunk = Buffer.alloc(CHUNK);
    expect(readSync(fd, chunk, 0, 4096, 0)).toBe(4096);
    truncateSync(source.objectFile(CUT), 5 * CHUNK + 1000);
    for (let i = 0; i < 3; i++) {
      for (const offset of [5, 7]) expect(() => readSync(fd, chunk, 0, CHUNK, offset * CHUNK)).toThrow(/EIO/);
      expect(readFileSync(join(at, 'whole')).equals(WHOLE)).toBe(true);
      expect(readSync(fd, chunk, 0, CHUNK, 3 * CHUNK)).toBe(CHUNK);
      expect(chunk.equals(CUT.subarray(3 * CHUNK, 4 * CHUNK))).toBe(true);
    }
    closeSync(fd);
    expect(readdirSync(`/proc/${String(pid)}/fd`).length).toBeLessThan(40);
  });
});
