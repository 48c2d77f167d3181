/** What tests of kernel mounts need of this machine and of a store. */
import { readFileSync, readdirSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'vitest';
import { run } from '../images/oci.js';
import { need } from './needs.js';

/** Skips the running test where the kernel cannot do it. */
export function needKernelMounts(context: TestContext, ...things: string[]): void {
  need(context, 'root', ...things);
  const [major, minor] = release().split('.').map(Number);
  const filesystems = readFileSync('/proc/filesystems', 'utf8');
  const reason =
    major < 6 || (major === 6 && minor < 5)
      ? `needs Linux 6.5, this is ${release()}`
      : ['erofs', 'overlay'].every((name) => filesystems.includes(`\t${name}\n`))
        ? undefined
        : 'needs EROFS and overlayfs in the kernel (modprobe erofs overlay)';
  if (reason === undefined) return;
  console.warn(`skipped: ${context.task.name}: ${reason}`);
  context.skip(reason);
}

/** The EROFS images of a store. */
export function erofsImages(root: string): string[] {
  return readdirSync(join(root, 'chains'))
    .map((name) => join(root, 'chains', name))
    .filter((folder) => readdirSync(folder).includes('erofs'))
    .map((folder) => join(folder, 'erofs'));
}

/** fsck.erofs finds nothing wrong, with every inode, listing and attribute looked at. */
export async function checkImage(image: string): Promise<void> {
  await run('fsck.erofs', [image]);
}

/** How many names of each type an image has, as dump.erofs counts them: by find's letter for the type. */
export async function countTypes(image: string): Promise<Record<string, number>> {
  const { stdout } = await run('dump.erofs', ['-s', '-S', image]);
  const types = { f: 'regular file', d: 'directory', c: 'char dev', b: 'block dev', p: 'FIFO file', l: 'symlink file' };
  const counts = Object.entries(types).map(([letter, type]) => {
    const [, count] = new RegExp(String.raw`^Filesystem ${type} count:\s+(\d+)$`, 'm').exec(stdout) ?? [];
    return [letter, Number(count)] as const;
  });
  return Object.fromEntries(counts.filter(([, count]) => count !== 0));
}

/** Lines of /proc/self/mountinfo that have to do with a folder, mounted there or from there. */
export function mountsOf(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(folder));
}

/** Files that loop devices stand on. */
export function loopFiles(): string[] {
  const files: string[] = [];
  for (const device of readdirSync('/sys/block').filter((name) => name.startsWith('loop'))) {
    try {
      files.push(readFileSync(`/sys/block/${device}/loop/backing_file`, 'utf8').trim());
    } catch (error) {
      // It has none.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return files;
}
