/** layerfs as a library, in programs that are started in ways of their own. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from './images/oci.js';
import { scratchFolder } from './support/scratch.js';

const SCRIPT = `
import { openStore } from 'layerfs';
const store = await openStore({ root: process.argv[1] });
const { newObjects } = await store.import(process.argv[2], { name: 'app' });
await store.close();
console.log(newObjects);`;

test('an import by a program on the command line, with the threads that it takes', async () => {
  const folder = scratchFolder('layerfs-library-');
  try {
    const [root, files, tar] = ['store', 'files', 'files.tar.gz'].map((name) => join(folder, name));
    mkdirSync(files);
    // More than one thread writes.
    for (let i = 0; i < 40; i++) writeFileSync(join(files, `file-${i}`), randomBytes(100_000));
    await run('tar', ['-czf', tar, '-C', files, '.']);
    const args = ['--input-type=module', '-e', SCRIPT, '--', root, tar];
    const { stdout } = await run(process.execPath, args, { cwd: import.meta.dirname });
    expect(stdout).toBe('40\n');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
