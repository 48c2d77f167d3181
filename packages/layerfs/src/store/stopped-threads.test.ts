/** Threads of an import are stopped where they are, which ends the process when they have koffi (see `thread.ts` of @layerfs/linux). */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** The packages that a module loads, itself and by what it imports. */
function packagesOf(module: URL, seen = new Set<string>()): string[] {
  if (seen.has(module.href)) return [];
  seen.add(module.href);
  const text = readFileSync(fileURLToPath(module), 'utf8');
  const names = [...text.matchAll(/^(?:import|export) (?:[^;]*? from )?'([^']+)';/gm)].map(([, name]) => name ?? '');
  return names.flatMap((name) => (name.startsWith('.') ? packagesOf(new URL(name, module), seen) : [name]));
}

const built = (file: string): string[] => packagesOf(new URL(`../../dist/store/${file}`, import.meta.url));

test.for(['object-worker.js', 'inflate/worker.js'])('%s calls no C', (file) => {
  const packages = built(file);
  expect(packages).toContain('node:worker_threads');
  // fzstd is JavaScript all through.
  expect(packages.filter((name) => !name.startsWith('node:') && name !== 'fzstd')).toEqual([]);
});

test('one that calls C would be told', () => {
  expect(built('fsck/worker.js')).toContain('@layerfs/linux/thread');
});
