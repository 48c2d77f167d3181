/**
 * Finds one name through the layers of a stack, by the rules of kernel overlayfs (ovl_lookup, ovl_lookup_layer and
 * ovl_lookup_single in fs/overlayfs/namei.c), in the same order of checks.
 */
import { ErrnoError, errno } from '@layerfs/linux';
import type { Layers, Part } from './layers.js';
import { hasMarker, hasOpaqueMarker, isWhiteout, readMarks, type Redirect } from './marks.js';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
/** Redirects prolong each other; so long a path leads nowhere. */
const MAX_NAMES = 65_536;

/** Where a file lies: a name in a real folder. */
export interface Place {
  readonly folder: Part;
  readonly name: string;
}

/** The real folders that a merged folder consists of, topmost first, found under `name` in `stack[start]`. */
export function findParts(
  layers: Layers,
  roots: readonly Part[],
  stack: readonly Part[],
  start: number,
  name: string,
): Part[] {
  const walk = new Walk(layers, roots, name);
  walk.run(stack, start);
  return walk.parts;
}

/** {@link findParts} of a folder in the lowest layer, which is known to be one: nothing is looked for below it. */
export function bottomPart(layers: Layers, parent: Part, name: string): Part {
  let xwhiteouts = false;
  try {
    ({ xwhiteouts } = readMarks(layers, parent, name));
  } catch (error) {
    // Redirects lead nowhere from here, so that one that is broken is no error.
    if (!(error instanceof ErrnoError) || error.errno !== errno.EIO) throw error;
  }
  return { layer: parent.layer, parent, name, xwhiteouts, markers: undefined };
}

/**
 * Where the content of a metacopy lies that was found under `name` in `stack[start]`.
 * @throws ErrnoError EIO when there is none
 */
export function findContent(
  layers: Layers,
  roots: readonly Part[],
  stack: readonly Part[],
  start: number,
  name: string,
): Place {
  const walk = new Walk(layers, roots, name);
  walk.run(stack, start);
  if (walk.content === undefined) throw new ErrnoError(errno.EIO, 'overlay.metacopy');
  return walk.content;
}

class Walk {
  readonly parts: Part[] = [];
  content: Place | undefined;
  readonly #layers: Layers;
  readonly #roots: readonly Part[];
  /** What is looked for in the next layer: from the root, or one name beside its siblings. */
  #target: Redirect;
  #stop = false;
  #isFolder = false;
  #metacopy = false;

  constructor(layers: Layers, roots: readonly Part[], name: string) {
    this.#layers = layers;
    this.#roots = roots;
    this.#target = { absolute: false, names: [name] };
  }

  run(stack: readonly Part[], start: number): void {
    let folders = stack;
    for (let i = start; i < folders.length && !this.#stop; i++) {
      const { layer } = folders[i];
      if (!this.#lookupLayer(folders[i])) continue;
      if (!this.#target.absolute || folders === this.#roots) continue;
      // From here on names are looked for from the root of each layer below this one.
      folders = this.#roots;
      i = layer;
    }
  }

  #lookupLayer(start: Part): boolean {
    let folder = start;
    // The target may change on the way, but only in front of what is still to be walked.
    for (let rest = this.#target.names.length; rest > 0; rest--) {
      const { names } = this.#target;
      const next = this.#lookup(folder, names[names.length - rest], rest);
      if (next === undefined) return false;
      if (next !== 'file') folder = next;
    }
    return true;
  }

  #lookup(folder: Part, name: string, rest: number): Part | 'file' | undefined {
    const layers = this.#layers;
    const lastName = rest === 1;
    const bottom = folder.layer === this.#roots.length - 1;
    if (!layers.stat(folder, name)) {
      this.#stop ||= hasMarker(layers, folder, name);
      return undefined;
    }
    const type = layers.found.mode & S_IFMT;
    const hides =
      isWhiteout(layers, folder, name) ||
      (lastName && this.#metacopy && type !== S_IFREG) ||
      (type !== S_IFDIR && (this.#isFolder || !lastName));
    if (hides) {
      this.#stop = true;
      return undefined;
    }
    return type === S_IFDIR
      ? this.#folder(folder, name, rest, bottom)
      : this.#file(folder, name, rest, type === S_IFREG && !bottom);
  }

  #folder(parent: Part, name: string, rest: number, bottom: boolean): Part {
    const layers = this.#layers;
    const marks = bottom ? undefined : readMarks(layers, parent, name);
    const part =
      marks === undefined
        ? bottomPart(layers, parent, name)
        : { layer: parent.layer, parent, name, xwhiteouts: marks.xwhiteouts, markers: undefined };
    if (rest === 1) {
      this.#isFolder = true;
      this.parts.push(part);
    }
    if (marks === undefined) return part;
    if (marks.opaque || hasMarker(layers, parent, name) || hasOpaqueMarker(layers, parent, name)) this.#stop = true;
    else this.#redirect(marks.redirect, rest);
    return part;
  }

  #file(folder: Part, name: string, rest: number, mayContinue: boolean): 'file' {
    const marks = readMarks(this.#layers, folder, name);
    this.#metacopy = marks.metacopy;
    if (!this.#metacopy) this.content = { folder, name };
    this.#stop = !this.#metacopy || !mayContinue;
    if (!this.#stop && hasMarker(this.#layers, folder, name)) this.#stop = true;
    if (!this.#stop) this.#redirect(marks.redirect, rest);
    return 'file';
  }

  #redirect(redirect: Redirect | undefined, rest: number): void {
    if (redirect === undefined) return;
    const { absolute, names } = this.#target;
    const at = names.length - rest;
    const behind = names.slice(at + 1);
    const before = redirect.absolute ? [] : names.slice(0, at);
    const path = [...before, ...redirect.names, ...behind];
    if (path.length > MAX_NAMES) throw new ErrnoError(errno.EIO, 'overlay.redirect');
    // An opaque folder further up says nothing of where the redirect leads.
    if (redirect.absolute) this.#stop = false;
    this.#target = { absolute: absolute || redirect.absolute, names: path };
  }
}
