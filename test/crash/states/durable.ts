/**
 * When what was done is durable. Assumed: syncfs(2) makes all durable that was done before it began; a file's fsync(2) or
 * fdatasync(2) its data, its size and its names with those of the folders above, as ext4, XFS and btrfs have it; a folder's
 * fsync(2) the names in it, not its own. What nothing made durable may be lost, each operation by itself.
 */
import { ROOT, type Operation } from '../record/log.js';

/** For each operation the index of the one that makes it durable; Infinity when none does. */
export function durableAt(log: readonly Operation[]): number[] {
  const at = log.map(() => Infinity);
  const begun = new Map<number, number>();
  /** What was done to an inode, or gave it a name. */
  const changes = new Map<number, number[]>();
  const namings = new Map<number, number[]>();
  const inFolder = new Map<number, number[]>();
  const parents = new Map<number, number>();
  const folders = new Set([ROOT]);
  const note = (map: Map<number, number[]>, id: number, index: number): void => {
    const list = map.get(id);
    if (list === undefined) map.set(id, [index]);
    else list.push(index);
  };
  const settle = (indexes: readonly number[] | undefined, when: number): void => {
    for (const i of indexes ?? []) at[i] = Math.min(at[i], when);
  };
  for (const [i, op] of log.entries()) {
    switch (op.op) {
      case 'mkdir':
      case 'create':
      case 'link':
      case 'unlink':
      case 'rmdir':
        if (op.op === 'mkdir') folders.add(op.id);
        if (op.op !== 'unlink' && op.op !== 'rmdir') parents.set(op.id, op.parent);
        note(namings, op.id, i);
        note(inFolder, op.parent, i);
        break;
      case 'rename':
      case 'exchange':
        parents.set(op.id, op.toParent);
        note(namings, op.id, i);
        note(inFolder, op.parent, i);
        note(inFolder, op.toParent, i);
        if (op.op === 'rename') break;
        parents.set(op.other, op.parent);
        note(namings, op.other, i);
        break;
      case 'write':
      case 'size':
      case 'mode':
        note(changes, op.id, i);
        break;
      case 'sync':
        settle(changes.get(op.id), i);
        if (folders.has(op.id)) settle(inFolder.get(op.id), i);
        else
          for (let id: number | undefined = op.id; id !== undefined; id = parents.get(id)) settle(namings.get(id), i);
        break;
      case 'sync-begin':
        begun.set(op.number, i);
        break;
      case 'sync-end':
        for (let j = 0; j < (begun.get(op.number) ?? 0); j++) at[j] = Math.min(at[j], i);
        break;
      case 'mark':
        break;
    }
  }
  return at;
}
