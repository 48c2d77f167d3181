/** The manual pages, as groff and man take them. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../images/oci.js';
import { need } from '../support/needs.js';
import { TOP } from './project.js';

const page = (name: string): string => join(TOP, 'packages/cli/man', name);

test.for(['layerfs.1', 'fuse-layerfs.8'])('%s: groff has nothing to say', async (name, context) => {
  need(context, 'groff');
  const { stderr } = await run('groff', ['-man', '-ww', '-b', '-z', '-Tutf8', page(name)]);
  expect(stderr).toBe('');
});

test('man shows them', async (context) => {
  need(context, 'man', 'groff');
  const env = { ...process.env, MANWIDTH: '100', MANPAGER: 'cat', LC_ALL: 'C.UTF-8' };
  const { stdout, stderr } = await run('man', ['--warnings', '--no-hyphenation', '-l', page('layerfs.1')], { env });
  expect(stderr).toBe('');
  expect(stdout).toContain('mount <image> <mountpoint>');
  expect(stdout).toMatch(/^ +--mount-mode <mode>\n +fuse \(default\): a process serves it/m);
  expect(stdout).toMatch(/^ +layerfs mount app \/mnt$|^ +layerfs mount app \/mnt {2,}/m);
  const { stdout: union } = await run('man', ['--warnings', '-l', page('fuse-layerfs.8')], { env });
  expect(union).toMatch(/lowerdir=DIR\[:DIR\.\.\.\]\n? +read.only, topmost first/);
});
