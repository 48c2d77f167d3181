/**
 * A file of the lower with several names, of which a renamed folder took some along: the others stay where they are, and
 * are still the same file. In a layer all of them must be given, for what is not is another file from then on.
 */
import { ROOT, S_IFDIR, S_IFMT } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';
import { treeAttributes, type Attributes } from './attributes.js';
import type { LayerEntry } from './entry.js';
import { lowerFolder } from './lower-names.js';
import { asFolder, childOf } from './tree-entries.js';
import { joinPath, readUpper, shownAttributes, shownXattrs, type UpperFolder } from './upper.js';

/** What was given of a file that moved along: its first path, and how many. */
export interface MovedLink {
  readonly first: string;
  count: number;
}

/** The names of such files that did not move, each behind the folders that lead to it. */
export function* stayingLinks(
  lower: Tree,
  root: UpperFolder,
  moved: ReadonlyMap<number, MovedLink>,
): Generator<LayerEntry, void> {
  const incomplete = new Map([...moved].filter(([ino, { count }]) => count < lower.nlink(ino)));
  if (incomplete.size === 0) return;
  for (const { path, ino } of lower.walk()) {
    const link = incomplete.get(ino)?.first;
    const folders = link === undefined ? undefined : foldersTo(lower, root, path, ino);
    if (folders === undefined) continue;
    for (const [at, attributes] of folders) yield entry(at, attributes, undefined);
    yield entry(path, treeAttributes(lower, ino, shownXattrs), link);
  }
}

function entry(path: string, attributes: Attributes, link: string | undefined): LayerEntry {
  return { kind: 'entry', path, change: undefined, attributes, content: undefined, link };
}

/** The folders on the way to a name of the lower, if the merged view shows that very file under it. */
function foldersTo(lower: Tree, root: UpperFolder, path: string, ino: number): [string, Attributes][] | undefined {
  const names = path.split('/');
  const folders: [string, Attributes][] = [];
  const opened: UpperFolder[] = [];
  let folder: UpperFolder | undefined = root;
  let below: number = ROOT;
  let at = '';
  try {
    for (;;) {
      const name: string | undefined = names.shift();
      if (name === undefined) return below === ino ? folders : undefined;
      const attributes: Attributes =
        folder === undefined ? treeAttributes(lower, below, shownXattrs) : shownAttributes(folder.self, at);
      folders.push([at, attributes]);
      const content = folder === undefined ? undefined : readUpper(folder, at);
      if (content?.opaque === true) below = 0;
      const file = content?.entries.find((each) => each.name === name);
      at = joinPath(at, name);
      if (folder === undefined || file === undefined) {
        if (content?.whiteouts.has(name) === true) return undefined;
        folder = undefined;
        below = childOf(lower, below, name);
        if (names.length > 0) below = asFolder(lower, below);
        if (below === 0) return undefined;
      } else {
        if ((file.mode & S_IFMT) !== S_IFDIR || names.length === 0) return undefined;
        const place = { folder: below, hidden: content?.whiteouts.has(name) === true };
        below = lowerFolder(lower, file, place, at);
        folder = folder.openFolder(name);
        opened.push(folder);
      }
    }
  } finally {
    for (const each of opened) each.close();
  }
}
