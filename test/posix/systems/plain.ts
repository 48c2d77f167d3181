import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { System } from './system.js';

/** The folder itself, on whatever the machine's temporary folder lies: here every case must pass, or the case is wrong. */
export const plain: System = {
  name: 'plain folder',
  missing: () => undefined,
  mount(work, template) {
    const folder = join(work, 'fresh');
    mkdirSync(folder);
    execFileSync('cp', ['-a', join(template, 'lower'), work]);
    return Promise.resolve({ folder, lowerFolder: join(work, 'lower'), unmount: () => Promise.resolve() });
  },
};
