/**
 * What a sequence knows of its work folder, learnt from what the reference answered, so that operations hit names that exist,
 * and names that existed. It may be wrong in corners (what lies behind a symbolic link); then operations just miss.
 */
import type { Random } from './random.js';
import type { Target } from './operation.js';

/** What a slot holds, as far as it is known. */
interface Held {
  readonly type: 'file' | 'folder';
  /** Its name by now; undefined when that was removed or replaced. */
  readonly path: string | undefined;
  /** Made without a name (O_TMPFILE), so that it needs none. */
  readonly temporary: boolean;
}

const NEW_NAMES = ['n1', 'n2', 'n3', 'n4', 'f', 'a', 'm', 'new name', '\xe9\xff', 'z'.repeat(255)];
/** Too long, not allowed, or special. */
const ODD_NAMES = ['z'.repeat(256), '.', '..', 'n1/', '.wh.x', '.wh..wh..opq'];

export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function isIn(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

export class World {
  /** Type letter by path; the top is ''. */
  readonly #entries: Map<string, string>;
  readonly #gone: string[] = [];
  readonly #slots = new Map<number, Held>();
  /** Attributes that were set: where, and their names. */
  readonly #xattrs: [Target, string][] = [];
  readonly #random: Random;

  constructor(initial: ReadonlyMap<string, string>, random: Random) {
    this.#entries = new Map(initial);
    this.#random = random;
  }

  /** A path that exists, of one of these types where there is any. */
  existing(types = 'dflpcs'): string {
    const all = [...this.#entries];
    // Walking on from a random place is fair enough, and faster than a list of candidates.
    const start = this.#random.below(all.length);
    for (let i = 0; i < all.length; i++) {
      const [path, type] = all[(start + i) % all.length];
      if (path !== '' && types.includes(type)) return path;
    }
    return this.fresh();
  }

  folder(): string {
    return this.#random.chance(0.3) ? '' : this.existing('d');
  }

  /** A path that may be created: in a folder that exists, under a name that is often taken already. */
  fresh(): string {
    if (this.#gone.length > 0 && this.#random.chance(0.35)) return this.#random.pick(this.#gone);
    const folder = this.folder();
    const name = this.#random.chance(0.02) ? this.#random.pick(ODD_NAMES) : this.#random.pick(NEW_NAMES);
    return folder === '' ? name : `${folder}/${name}`;
  }

  /** Mostly a path of the given types, sometimes anything else. */
  path(types: string): string {
    const dice = this.#random.below(100);
    if (dice < 78) return this.existing(types);
    if (dice < 90) return this.existing();
    if (dice < 93) return this.#through();
    return this.fresh();
  }

  /** A path that leads through a symbolic link or a file. */
  #through(): string {
    return `${this.existing('lf')}/${this.#random.pick(['f', 'b', 'n1', '.'])}`;
  }

  /** A slot that holds what is asked for, now and then any. */
  slot(type: Held['type'] | undefined, slots: number): number {
    const candidates = [...this.#slots].filter(([, held]) => type === undefined || held.type === type);
    if (candidates.length === 0 || this.#random.chance(0.07)) return this.#random.below(slots);
    return this.#random.pick(candidates)[0];
  }

  /**
   * A slot whose file may have its attributes changed, or an empty one. When the name of a file of a lower was removed, overlayfs
   * copies it up to that name all the same, over what is there by now.
   */
  slotToChange(slots: number): number {
    const candidates = [...this.#slots].filter(([, held]) => held.temporary || held.path !== undefined);
    if (candidates.length > 0) return this.#random.pick(candidates)[0];
    return Array.from({ length: slots }, (_, slot) => slot).find((slot) => !this.#slots.has(slot)) ?? slots;
  }

  #renameHeld(newPath: (path: string) => string | undefined): void {
    for (const [slot, held] of this.#slots) {
      if (held.path !== undefined) this.#slots.set(slot, { ...held, path: newPath(held.path) });
    }
  }

  /** An attribute that is probably there. */
  xattr(): readonly [target: Target, name: string] | undefined {
    return this.#xattrs.length === 0 ? undefined : this.#random.pick(this.#xattrs);
  }

  /** A folder that is known to be empty, else any. */
  emptyFolder(): string {
    const parents = new Set([...this.#entries.keys()].map(parentOf));
    const empty = [...this.#entries].filter(([path, type]) => type === 'd' && path !== '' && !parents.has(path));
    return empty.length === 0 ? this.existing('d') : this.#random.pick(empty)[0];
  }

  /** What is in a folder, each after all that is inside it; the folder itself is the last. */
  contents(folder: string): [path: string, type: string][] {
    return this.#below(folder).toSorted((a, b) => (a[0] < b[0] ? 1 : -1));
  }

  #below(folder: string): [string, string][] {
    return [...this.#entries].filter(([path]) => isIn(path, folder));
  }

  type(path: string): string | undefined {
    return this.#entries.get(path);
  }

  add(path: string, type: string): void {
    if (path !== '') this.#entries.set(path, type);
  }

  remove(path: string): void {
    this.#renameHeld((held) => (held === path ? undefined : held));
    if (!this.#entries.delete(path)) return;
    this.#gone.push(path);
    if (this.#gone.length > 16) this.#gone.shift();
  }

  move(from: string, to: string): void {
    this.#renameHeld((held) => (isIn(held, from) ? to + held.slice(from.length) : isIn(held, to) ? undefined : held));
    const moved = this.#below(from);
    for (const [path] of moved) this.remove(path);
    for (const [path] of this.#below(to)) this.#entries.delete(path);
    for (const [path, type] of moved) this.#entries.set(to + path.slice(from.length), type);
  }

  exchange(from: string, to: string): void {
    this.#renameHeld((held) =>
      isIn(held, from) ? to + held.slice(from.length) : isIn(held, to) ? from + held.slice(to.length) : held,
    );
    const [first, second] = [this.#below(from), this.#below(to)];
    for (const [path] of [...first, ...second]) this.#entries.delete(path);
    for (const [path, type] of first) this.#entries.set(to + path.slice(from.length), type);
    for (const [path, type] of second) this.#entries.set(from + path.slice(to.length), type);
  }

  hold(slot: number, held: Held): void {
    this.#slots.set(slot, held);
  }

  release(slot: number): void {
    this.#slots.delete(slot);
  }

  noteXattr(target: Target, name: string): void {
    this.#xattrs.push([target, name]);
    if (this.#xattrs.length > 12) this.#xattrs.shift();
  }
}
