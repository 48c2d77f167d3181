/** The layer above `odd-lower.ts`: it deletes, hides, replaces and links what is there, with markers in every order. */
import { file, folder, hardlink, symlink, TIME, type Piece } from './odd-lower.js';

function whiteout(name: string): Piece {
  const slash = name.lastIndexOf('/') + 1;
  return file(`${name.slice(0, slash)}.wh.${name.slice(slash)}`, '', { mode: 0 });
}

function opaque(name: string): Piece {
  return file(`${name}/.wh..wh..opq`, '', { mode: 0 });
}

const deletions: Piece[] = [
  whiteout('odd/v/deleted'),
  whiteout('odd/v/deleted-folder'),
  whiteout('odd/v/was-never-there'),
  whiteout('odd/v/deleted-then-made'),
  file('odd/v/deleted-then-made', 'new', { mode: 0o640 }),
  // The entry stands before its own whiteout: it stays, and what is below is hidden.
  folder('odd/v/folder-made-anew'),
  file('odd/v/folder-made-anew/new', 'x'),
  whiteout('odd/v/folder-made-anew'),
];

const opaques: Piece[] = [
  folder('odd/v/opaque-first', { mode: 0o711 }),
  opaque('odd/v/opaque-first'),
  file('odd/v/opaque-first/replaced', 'new'),
  file('odd/v/opaque-first/added', 'x'),
  folder('odd/v/opaque-last', { mode: 0o711 }),
  file('odd/v/opaque-last/replaced', 'new'),
  file('odd/v/opaque-last/hidden-folder/y', 'x'),
  opaque('odd/v/opaque-last'),
  file('odd/v/opaque-implied/added', 'x'),
  opaque('odd/v/opaque-implied'),
  opaque('odd/v/opaque-empty'),
];

const replacements: Piece[] = [
  folder('odd/v/file-to-folder'),
  file('odd/v/file-to-folder/x', 'x'),
  file('odd/v/folder-to-file', 'x'),
  symlink('odd/v/folder-to-link', 'opaque-first'),
  folder('odd/v/link-to-folder'),
  file('odd/v/link-to-folder/x', 'x'),
  file('odd/v/link-to-file', 'x'),
  { name: 'odd/v/file-to-fifo', type: '6', mode: 0o600, mtime: TIME },
  folder('odd/v/attributes', { mode: 0o700, uid: 9, mtime: TIME + 1, xattrs: { 'user.kept': 'new' } }),
  file('odd/v/grown', 'longer than it was before'),
];

const linked: Piece[] = [
  whiteout('odd/v/pair-1'),
  file('odd/v/trio-2', 'has a content of its own now'),
  hardlink('odd/v/link-to-below', 'odd/v/link-target'),
  hardlink('odd/v/link-to-symlink-below', 'odd/v/symlink-target'),
  // The link is made before its target is replaced in this same layer: it keeps the content from below.
  hardlink('odd/v/old-name', 'odd/v/link-target-replaced'),
  file('odd/v/link-target-replaced', 'new content'),
  hardlink('odd/links/four', 'odd/links/one'),
];

const aufs: Piece[] = [
  file('.wh..wh.aufs', '', { mode: 0o400 }),
  folder('.wh..wh.plnk', { mode: 0o700 }),
  folder('.wh..wh.orph', { mode: 0o700 }),
];

/** The upper odd layer, complete. It begins without an entry for the root: folders are implied until named. */
export function oddUpper(): Piece[] {
  const implied = file('odd/v/implied/deeper/still/new', 'x');
  const newImplied = file('odd/new/implied/folders/file', 'x');
  return [aufs, deletions, opaques, replacements, linked, [implied, newImplied]].flat();
}
