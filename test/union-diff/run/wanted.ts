/**
 * Where a union is meant to differ from kernel overlayfs. Everything else that differs is an error. Each line says why; `ends`
 * when the two trees are no longer the same afterwards, so that comparing more of the sequence would say nothing.
 */
import type { Operation } from '../operations/operation.js';

export interface Wanted {
  readonly why: string;
  readonly ends: boolean;
  matches(operation: Operation, reference: string, subject: string): boolean;
}

/** Changes what a descriptor stands for, which may have no name any more. */
function isByDescriptor(operation: Operation): boolean {
  if (operation.kind === 'setxattr' || operation.kind === 'removexattr') return typeof operation.target === 'number';
  return operation.kind === 'fchmod' || operation.kind === 'fchown';
}

/** Files of more than 128 KiB are read by passthrough; with `--no-passthrough` nothing of the kind is excused. */
const PASSTHROUGH = !(process.env['LAYERFS_DIFF_MOUNT'] ?? '').includes('--no-passthrough');

export const WANTED: readonly Wanted[] = [
  {
    // What the kernel reads by itself, it reads from the file that was there when it was opened (docs/union.md).
    why: 'a large file of a lower that is open by passthrough shows what it was, as on overlayfs before Linux 6.12',
    ends: true,
    matches: (operation, reference, subject) =>
      PASSTHROUGH &&
      ['read', 'pread', 'copy', 'seek'].includes(operation.kind) &&
      reference.startsWith('ok') &&
      subject.startsWith('ok'),
  },
  {
    // Both come as a SETATTR of nothing; a write by whoever has the file open takes the bits away, too.
    why: 'chown(-1, -1) of a file that is open for writing cannot be told from a write that takes set-user-ID away',
    ends: true,
    matches: (operation, reference, subject) =>
      operation.kind === 'fchown' &&
      operation.uid === 0xffffffff &&
      operation.gid === 0xffffffff &&
      reference === 'EPERM' &&
      subject === 'ok',
  },
  {
    // cap_inode_getsecurity() refuses to read it, also where nobody asked for it.
    why: 'overlayfs cannot remove what has a capability attribute that makes no sense',
    ends: true,
    matches: (operation, reference, subject) =>
      operation.kind === 'rmtree' && reference === 'EINVAL' && subject.startsWith('ok'),
  },
  {
    // ovl_copy_up() looks for the parent's upper, or for a place in the index, under a name that is gone.
    why: 'overlayfs cannot copy up a file that was removed while it is open',
    ends: true,
    matches: (operation, reference, subject) =>
      isByDescriptor(operation) &&
      ['ENOENT', 'EEXIST', 'ESTALE', 'ENOTDIR'].includes(reference) &&
      ['ok', 'ENOENT', 'ENODATA'].includes(subject),
  },
  {
    // ovl_getattr() asks the lower file, which still has its name.
    why: 'overlayfs shows a link count for files of lowers that were removed while they are open',
    ends: false,
    matches: (operation, reference, subject) =>
      operation.kind === 'fstat' && / nlink=0( |$)/.test(subject) && isLinkCountOfLower(subject, reference),
  },
  {
    // The first for files of its upper, as plain filesystems do, the second for files of lowers.
    why: 'overlayfs says now ok, now ENODATA when an ACL that is not there is removed',
    ends: false,
    matches: (operation, reference, subject) =>
      (operation.kind === 'removexattr' || (operation.kind === 'setxattr' && operation.value === '')) &&
      operation.name.startsWith('system.posix_acl_') &&
      ['ok', 'ENODATA'].includes(reference) &&
      ['ok', 'ENODATA'].includes(subject),
  },
];

export function wantedDifference(operation: Operation, reference: string, subject: string): Wanted | undefined {
  return WANTED.find((wanted) => wanted.matches(operation, reference, subject));
}

/**
 * A lower hardlink of which names were hidden: overlayfs without an index shows the link count that the lower has. Link counts
 * of the upper are the disk's own and always right, so nothing else shows too many.
 */
export function isLinkCountOfLower(expected: string, found: string): boolean {
  const count = (text: string): number => Number(/ nlink=(\d+)/.exec(text)?.[1]);
  const rest = (text: string): string => text.replace(/ nlink=\d+/, '');
  return count(found) > count(expected) && rest(found) === rest(expected);
}
