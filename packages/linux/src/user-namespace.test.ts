import { mkdtempSync, readFileSync, readlinkSync, readdirSync, rmSync, closeSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { getProject } from './quota.js';
import { withUserNamespace } from './user-namespace.js';

/** IDs of our children, whatever thread started them. */
function children(): string[] {
  return readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'latin1').split(' ').filter(Boolean),
  );
}

test.skipIf(process.getuid?.() !== 0)('a user namespace is there as long as it is used, and no process is left', () => {
  const before = children();
  const run = { inside: 0, outside: 100_000, count: 10 };
  const names = [1, 2].map(() =>
    withUserNamespace([run], [run, { inside: 50, outside: 7, count: 1 }], (fd) => readlinkSync(`/proc/self/fd/${fd}`)),
  );
  for (const name of names) {
    expect(name).toMatch(/^user:\[\d+\]$/);
    expect(name).not.toBe(readlinkSync('/proc/self/ns/user'));
  }
  const overlapping = (): unknown => withUserNamespace([run, { ...run, outside: 5 }], [run], () => 0);
  expect(overlapping).toThrow('EINVAL');
  expect(children()).toEqual(before);
});

test('a folder without a project has none, or its filesystem says that it knows of none', () => {
  const folder = mkdtempSync(join(tmpdir(), 'layerfs-linux-'));
  const fd = openSync(folder, 'r');
  try {
    expect(getProject(fd)).toBe(0);
  } catch (error) {
    expect(['ENOTTY', 'EOPNOTSUPP', 'ENOTSUP']).toContain((error as NodeJS.ErrnoException).code);
  } finally {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
});
