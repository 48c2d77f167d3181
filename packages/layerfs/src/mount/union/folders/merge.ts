import { DT } from '@layerfs/linux';
import { WHITEOUT_PREFIX } from '../../../core/overlay/format.js';
import type { Layers, Part } from './layers.js';
import { hiddenByMarker, isWhiteout } from './marks.js';

/** The names of a merged folder, sorted by bytes, so that making it again gives the same indices. */
export interface Listing {
  readonly names: readonly string[];
  /** DT_* of each name. */
  readonly types: Uint8Array;
  /** Which of the folder's parts each name comes from. */
  readonly parts: Uint16Array;
  /** How many of the names are folders. */
  readonly subfolders: number;
}

interface Entry {
  readonly type: number;
  readonly part: number;
}

const HIDDEN: Entry = { type: DT.UNKNOWN, part: -1 };

/** Lists a merged folder: a name in one part hides it in all parts behind, and so does a whiteout. */
export function mergeListing(layers: Layers, parts: readonly Part[]): Listing {
  const entries = new Map<string, Entry>();
  for (const [index, part] of parts.entries()) mergePart(layers, part, index, entries);
  const names: string[] = [];
  for (const [name, entry] of entries) if (entry !== HIDDEN) names.push(name);
  // Without a comparer it is several times faster, and latin1 strings then are in the order of their bytes.
  names.sort();
  const types = new Uint8Array(names.length);
  const from = new Uint16Array(names.length);
  let subfolders = 0;
  for (const [i, name] of names.entries()) {
    const entry = entries.get(name)!;
    types[i] = entry.type;
    from[i] = entry.part;
    if (entry.type === DT.DIR) subfolders++;
  }
  return { names, types, parts: from, subfolders };
}

/** The index of a name in a listing, -1 when it is not there. */
export function indexOf(listing: Listing, name: string): number {
  const { names } = listing;
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (names[middle] < name) low = middle + 1;
    else high = middle;
  }
  return names[low] === name ? low : -1;
}

function mergePart(layers: Layers, part: Part, index: number, entries: Map<string, Entry>): void {
  // A whiteout acts on the layers below, not on a file of the same name in its own.
  const hidden: string[] = [];
  let markers = false;
  // One object for all names of a type, not one a name.
  const plain: Entry[] = [];
  layers.list(part, (name, type) => {
    if (name.startsWith(WHITEOUT_PREFIX)) {
      markers = true;
      const target = hiddenByMarker(name);
      if (target !== undefined) hidden.push(target);
      return;
    }
    if (entries.has(name)) return;
    const entry = mayNeedLook(type, part) ? look(layers, part, index, name) : (plain[type] ??= { type, part: index });
    if (entry !== undefined) entries.set(name, entry);
  });
  part.markers = markers;
  for (const name of hidden) if (!entries.has(name)) entries.set(name, HIDDEN);
}

function mayNeedLook(type: number, part: Part): boolean {
  return type === DT.CHR || type === DT.UNKNOWN || (type === DT.REG && part.xwhiteouts);
}

function look(layers: Layers, part: Part, index: number, name: string): Entry | undefined {
  if (!layers.stat(part, name)) return undefined;
  const type = layers.found.mode >> 12;
  return isWhiteout(layers, part, name) ? HIDDEN : { type, part: index };
}
