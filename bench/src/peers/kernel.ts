/** What the kernel does without us. Root only. */
import { mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { run } from '../harness/programs.js';
import type { Peer, Stack } from './peer.js';

/**
 * Folders of a stack as overlayfs's options, and the folder from which they are named: many layers have to fit into one page
 * of options.
 */
export function lowerdir({ lowers }: Stack): { readonly option: string; readonly cwd: string } {
  const cwd = dirname(lowers[0]);
  const together = lowers.every((lower) => dirname(lower) === cwd);
  return { option: `lowerdir=${(together ? lowers.map((lower) => basename(lower)) : lowers).join(':')}`, cwd };
}

/** Makes upper and work in an empty folder. */
export function upperdir(scratch: string): string {
  for (const name of ['upper', 'work']) mkdirSync(join(scratch, name));
  return `upperdir=${scratch}/upper,workdir=${scratch}/work`;
}

function mountOverlay(stack: Stack, mountpoint: string, more: string): undefined {
  const { option, cwd } = lowerdir(stack);
  const command = 'cd "$1" && mount -t overlay overlay -o "$2" "$3"';
  run('sh', '-c', command, 'sh', cwd, `${option}${more}`, mountpoint);
}

/** Kernel overlayfs on unpacked lowers. */
export const kernelOverlayfs: Peer = {
  name: 'kernel overlayfs',
  kind: 'peer',
  mount: (stack, mountpoint) =>
    // One lower without upper is refused.
    mountOverlay(stack.lowers.length > 1 ? stack : twice(stack), mountpoint, ''),
  mountWritable: (stack, mountpoint, scratch) => mountOverlay(stack, mountpoint, `,${upperdir(scratch)}`),
  unmount: (_, mountpoint) => void run('umount', mountpoint),
};

/** An empty folder goes below. */
function twice(stack: Stack): Stack {
  const empty = join(dirname(dirname(stack.lowers[0])), 'empty');
  mkdirSync(empty, { recursive: true });
  return { ...stack, lowers: [...stack.lowers, empty] };
}

/** No union at all: what every union is measured against. Changes go into a copy. */
export const plainFolder: Peer = {
  name: 'plain folder',
  kind: 'limit',
  mount({ plain }, mountpoint) {
    run('mount', '--bind', plain ?? '', mountpoint);
    return undefined;
  },
  mountWritable({ plain }, mountpoint, scratch) {
    run('cp', '-a', '--reflink=auto', `${plain}/.`, scratch);
    run('mount', '--bind', scratch, mountpoint);
    return undefined;
  },
  unmount: (_, mountpoint) => void run('umount', mountpoint),
};
