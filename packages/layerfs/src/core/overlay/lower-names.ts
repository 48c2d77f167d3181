/** Finds what a file of the upper continues in the lower, by kernel overlayfs's rules (fs/overlayfs/namei.c). */
import { S_IFMT, S_IFREG } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';
import { asFolder, childOf, deletedNames, namedDeleted, type Deleted } from './tree-entries.js';
import { corruptUpper, redirectOf, type UpperContent, type UpperFile } from './upper.js';

/** Where in the lower a name of the upper is looked for. */
export interface LowerPlace {
  /** What the folder continues, 0 when nothing. */
  readonly folder: number;
  /** The name in the folder is hidden by a whiteout all the same. */
  readonly hidden: boolean;
}

/** The lower folder that is merged into a folder of the upper; 0 when there is none. It may still turn out opaque. */
export function lowerFolder(lower: Tree, file: UpperFile, place: LowerPlace, path: string): number {
  // As the kernel does it: a redirect to nothing, or to no folder, leaves the folder on its own.
  return asFolder(lower, redirected(lower, file, place, path) ?? named(lower, file, place));
}

/**
 * The lower file whose content a metacopy has.
 * @throws LayerfsError corrupt when there is none, or it has another size
 */
export function lowerContent(lower: Tree, file: UpperFile, place: LowerPlace, path: string): number {
  const ino = redirected(lower, file, place, path) ?? named(lower, file, place);
  if (ino === 0 || (lower.mode(ino) & S_IFMT) !== S_IFREG) {
    throw corruptUpper(path, 'its content is said to be in the lower (metacopy), where there is no such file');
  }
  if (lower.size(ino) !== file.size) {
    throw corruptUpper(path, `it has ${file.size} bytes, the lower file with its content ${lower.size(ino)}`);
  }
  return ino;
}

/**
 * What is missing from a folder of the upper.
 * @param continues the lower folder that goes on in it, 0: none
 * @param base what the lower has at its path, 0: no folder
 */
export function deletedIn(lower: Tree, { entries, whiteouts }: UpperContent, continues: number, base: number): Deleted {
  const here = new Set(entries.map(({ name }) => name));
  // Where the lower's own folder goes on, only what upper says of it matters.
  if (continues === base) {
    return namedDeleted([...whiteouts].filter((name) => !here.has(name) && childOf(lower, base, name) !== 0));
  }
  const moved = (name: string): boolean => !whiteouts.has(name) && childOf(lower, continues, name) !== 0;
  return deletedNames(lower, base, (name) => here.has(name) || moved(name));
}

function named(lower: Tree, file: UpperFile, { folder, hidden }: LowerPlace): number {
  return hidden ? 0 : childOf(lower, folder, file.name);
}

/** @returns undefined without a redirect */
function redirected(lower: Tree, file: UpperFile, { folder }: LowerPlace, path: string): number | undefined {
  const redirect = redirectOf(file, path);
  if (redirect === undefined) return undefined;
  if (!redirect.absolute) return childOf(lower, folder, redirect.names[0]);
  return lower.resolve(redirect.names.join('/'));
}
