/** Files of the upper with several names: what is to be known of all of them before the first is given. */
import { ROOT, S_IFDIR, S_IFMT } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';
import { deletedIn, lowerContent, lowerFolder, type LowerPlace } from './lower-names.js';
import { asFolder, childOf } from './tree-entries.js';
import { isMetacopy, joinPath, readUpper, type UpperFile, type UpperFolder } from './upper.js';
import { LayerfsError } from '../error.js';

/** All names of one file in the upper. */
export interface LinkGroup {
  readonly names: {
    readonly path: string;
    /** What the lower has at that path. */
    readonly base: number;
  }[];
  /** The lower file with a metacopy's content. */
  content: number;
  /** Where the first name was given. */
  first: string | undefined;
  /** The lower has the same names of one file, all of them and no others. */
  sameNames: boolean;
}

/**
 * Goes through the upper once and collects the files with several names.
 * @param forLayer see `Deleted.unspeakable`: what is given anew has nothing below it
 * @throws LayerfsError as reading the upper does
 */
export function linkGroups(lower: Tree, root: UpperFolder, forLayer: boolean): Map<string, LinkGroup> {
  const groups = new Map<string, LinkGroup>();
  const misses = new Map<string, LayerfsError>();
  const visit = (folder: UpperFolder, path: string, below: number, base: number): void => {
    const content = readUpper(folder, path);
    const { entries, whiteouts, opaque } = content;
    const continues = opaque ? 0 : below;
    const anew = forLayer && deletedIn(lower, content, continues, base).unspeakable;
    for (const file of entries) {
      const at = joinPath(path, file.name);
      const place: LowerPlace = { folder: continues, hidden: whiteouts.has(file.name) };
      const here = anew ? 0 : childOf(lower, base, file.name);
      if ((file.mode & S_IFMT) === S_IFDIR) {
        const child = folder.openFolder(file.name);
        try {
          visit(child, at, lowerFolder(lower, file, place, at), asFolder(lower, here));
        } finally {
          child.close();
        }
      } else if (file.nlink > 1) {
        let group = groups.get(file.key);
        if (group === undefined) {
          group = { names: [], content: 0, first: undefined, sameNames: false };
          groups.set(file.key, group);
        }
        group.names.push({ path: at, base: here });
        findContent(lower, group, file, place, at, misses);
      }
    }
  };
  visit(root, '', ROOT, ROOT);
  for (const [key, group] of groups) {
    // Found under no name.
    const miss = misses.get(key);
    if (miss !== undefined && group.content === 0) throw miss;
    const { base } = group.names[0];
    group.sameNames =
      base !== 0 && lower.nlink(base) === group.names.length && group.names.every((name) => name.base === base);
  }
  return groups;
}

/** Without a redirect, one of its names alone may lead to a metacopy's content. */
function findContent(
  lower: Tree,
  group: LinkGroup,
  file: UpperFile,
  place: LowerPlace,
  path: string,
  misses: Map<string, LayerfsError>,
): void {
  if (group.content !== 0 || !isMetacopy(file)) return;
  try {
    group.content = lowerContent(lower, file, place, path);
  } catch (error) {
    if (!(error instanceof LayerfsError)) throw error;
    misses.set(file.key, error);
  }
}
