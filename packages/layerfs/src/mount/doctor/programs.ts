import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Check } from './check.js';

const PATIENCE = 10_000;

const PROGRAMS = [
  [
    'containerd',
    'layerfs snapshotter serve gives it snapshots.',
    'Install containerd to run images of the store with it.',
  ],
  ['podman', 'fuse-layerfs can be its mount_program.', 'Install podman to run images with it.'],
  ['buildah', 'fuse-layerfs can be its mount_program.', 'Install buildah to build images with it.'],
] as const;

/** The programs that layerfs works for. */
export function programChecks(): Check[] {
  return PROGRAMS.map(([name, use, hint]) => {
    const file = findProgram(name);
    if (file === undefined) return { name, ok: 'warn', detail: 'Not installed.', use: 'Nothing.', hint };
    try {
      const said = execFileSync(file, ['--version'], {
        encoding: 'utf8',
        timeout: PATIENCE,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const version = /\d+\.\d+[\w.~+-]*/.exec(said)?.[0];
      return { name, ok: true, detail: `${file}${version === undefined ? '' : `, version ${version}`}.`, use };
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return {
        name,
        ok: 'warn',
        detail: `${file} does not say its version.`,
        use,
        hint: `See what ${file} --version says.`,
      };
    }
  });
}

function findProgram(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder.startsWith('/'));
  return folders.map((folder) => join(folder, name)).find((file) => isExecutable(file));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}
