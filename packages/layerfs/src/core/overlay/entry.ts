/**
 * What a merged view has that the tree below it has not: the one list of which both a list of changes and a layer's tar
 * are made, so that they cannot disagree. Paths are byte strings (latin1) without a leading slash; the root's is empty.
 */
import type { Attributes } from './attributes.js';
import type { UpperFolder } from './upper.js';

/** Where a regular file's bytes are. */
export type Content =
  | { readonly kind: 'object'; readonly hex: string }
  /** To be read before the next entry is asked for: the folder is open only so long. */
  | { readonly kind: 'upper'; readonly folder: UpperFolder; readonly name: string };

/** One difference, or a folder on the way to some. Folders come before what is in them. */
export type LayerEntry =
  | {
      readonly kind: 'deleted';
      readonly path: string;
      /** An opaque mark of the folder has said so already. */
      readonly covered: boolean;
    }
  /** Nothing that the folder had below is in it any more. Comes after the folder and before what is in it. */
  | { readonly kind: 'opaque'; readonly path: string }
  | {
      readonly kind: 'entry';
      readonly path: string;
      /** Undefined: the same as below. A folder that was looked into, or a file that has other names than before. */
      readonly change: 'added' | 'changed' | undefined;
      readonly attributes: Attributes;
      /** Of a regular file that is not empty. */
      readonly content: Content | undefined;
      /** One more name of the file of an earlier entry: that entry's path. */
      readonly link: string | undefined;
    };

/** What happened to a path. */
export interface Change {
  readonly kind: 'added' | 'changed' | 'deleted';
  /** Bytes as latin1, without a leading slash; the root's is empty. */
  readonly path: string;
}

/** The changes among entries, sorted by path. */
export function changesOf(entries: Iterable<LayerEntry>): Change[] {
  const changes: Change[] = [];
  for (const entry of entries) {
    if (entry.kind === 'deleted') changes.push({ kind: 'deleted', path: entry.path });
    else if (entry.kind === 'entry' && entry.change !== undefined)
      changes.push({ kind: entry.change, path: entry.path });
  }
  return changes.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}
