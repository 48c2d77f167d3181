/** Prepares and runs cases, each in a folder of its own. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { chmod, mkdir } from './calls.js';
import type { Case } from './family.js';
import type { Mounted } from '../systems/system.js';

/** Runs a synchronous function with another current folder. */
function inside<T>(folder: string, run: () => T): T {
  const before = process.cwd();
  process.chdir(folder);
  try {
    return run();
  } finally {
    process.chdir(before);
  }
}

/** The folder of a case in the template: its place in the list, which is the same all through a run. */
function lowerName(index: number): string {
  return `w${String(index)}`;
}

/** A new folder as cases find it. */
function newCaseFolder(path: string): void {
  mkdir(path, 0o777);
  chmod(path, 0o777);
}

/**
 * Prepares the content of all cases below `template`/lower.
 * @returns the indexes of those that cannot be had in a user namespace, such as with devices
 */
export function prepareTemplate(template: string, cases: readonly Case[], isRoot: boolean): ReadonlySet<number> {
  const impossible = new Set<number>();
  const lower = join(template, 'lower');
  mkdirSync(lower, { recursive: true });
  chmod(lower, 0o755);
  for (const [index, { name, prepare, needsRoot }] of cases.entries()) {
    if (prepare === undefined || (needsRoot && !isRoot)) continue;
    const folder = join(lower, lowerName(index));
    newCaseFolder(folder);
    try {
      inside(folder, prepare);
    } catch (cause) {
      if (hasMachineIds()) throw new Error(`preparing ${name}`, { cause });
      impossible.add(index);
    }
  }
  return impossible;
}

/** Runs one case, and throws when it fails: `onLower` on what was prepared in the layer, else in a new folder. */
export async function expectCase(mounted: Mounted, index: number, item: Case, onLower: boolean): Promise<void> {
  const folder = onLower ? join(mounted.lowerFolder, lowerName(index)) : join(mounted.folder, lowerName(index));
  if (!onLower) newCaseFolder(folder);
  const before = process.cwd();
  process.chdir(folder);
  try {
    if (!onLower) item.prepare?.();
    await item.run();
  } finally {
    process.chdir(before);
  }
}
