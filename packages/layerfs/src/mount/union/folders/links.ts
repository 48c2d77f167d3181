import { DT, ErrnoError } from '@layerfs/linux';
import type { Lower, LowerName, LowerNode } from '../lower.js';

const ROOT = 1;

/**
 * The names of all files that have several, found by walking the whole stack: a file does not say where its names are.
 * @param linkedChild the node of a child that has several names, else 0
 */
export function linkedNames(
  lower: Lower,
  linkedChild: (folder: LowerNode, index: number) => LowerNode,
): Map<LowerNode, LowerName[]> {
  const names = new Map<LowerNode, LowerName[]>();
  const folders: LowerNode[] = [ROOT];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (let index = countOrNone(lower, folder) - 1; index >= 0; index--) {
      if (lower.childType(folder, index) === DT.DIR) {
        folders.push(lower.childNode(folder, index));
        continue;
      }
      const node = linkedChild(folder, index);
      if (node === 0) continue;
      const known = names.get(node);
      const name = { folder, name: lower.childName(folder, index) };
      if (known === undefined) names.set(node, [name]);
      else known.push(name);
    }
  }
  return names;
}

/** A folder that cannot be read shows no names to anybody. */
function countOrNone(lower: Lower, folder: LowerNode): number {
  try {
    return lower.childCount(folder);
  } catch (error) {
    if (error instanceof ErrnoError) return 0;
    throw error;
  }
}
