/** Makes the next operation of a sequence. The weights decide what is found. */
import { ALL_TYPES, Choices, MODES, RENAME_FLAGS, XATTRS } from './choices.js';
import { FALLOCATE_MODES } from './on-descriptors.js';
import { OPEN, type Action, type Operation } from './operation.js';
import type { Random } from './random.js';
import type { World } from './world.js';

type Makers = { readonly [K in Action['kind']]: (choices: Choices) => Extract<Action, { kind: K }> };

const WEIGHTS: Readonly<Record<Action['kind'], number>> = {
  open: 70,
  openat: 6,
  linkfd: 8,
  close: 12,
  read: 20,
  pread: 25,
  write: 30,
  pwrite: 30,
  ftruncate: 14,
  fallocate: 12,
  seek: 10,
  getdents: 8,
  copy: 10,
  fsync: 4,
  fstat: 20,
  fchmod: 10,
  fchown: 10,
  readfile: 40,
  writefile: 40,
  truncate: 20,
  mkdir: 35,
  mknod: 20,
  symlink: 20,
  readlink: 8,
  // What changes names is where unions go wrong.
  link: 40,
  unlink: 50,
  rmdir: 35,
  rmtree: 5,
  rename: 120,
  chmod: 30,
  chown: 30,
  utimes: 30,
  setxattr: 35,
  getxattr: 20,
  listxattr: 15,
  removexattr: 15,
  stat: 40,
  readdir: 40,
  access: 15,
  statfs: 2,
};

const MAKERS: Makers = {
  open: (c) => {
    const slot = c.slot();
    const mode = c.mode();
    const dice = c.random.below(100);
    if (dice < 12) {
      const exclusive = c.random.chance(0.1) ? OPEN['O_EXCL'] : 0;
      const flags = OPEN['O_TMPFILE'] | c.random.pick([0, 1, 2, 2, 2]) | exclusive;
      return { kind: 'open', slot, path: c.world.folder(), flags, mode };
    }
    // Folders are opened so that they are held while they are renamed and removed.
    if (dice < 25) return { kind: 'open', slot, path: c.world.folder(), flags: OPEN['O_DIRECTORY'], mode };
    const flags = c.openFlags();
    const isNew = (flags & OPEN['O_CREAT']) !== 0 && c.random.chance(0.4);
    return { kind: 'open', slot, path: isNew ? c.world.fresh() : c.world.path('f'), flags, mode };
  },
  openat: (c) => {
    const path = c.random.pick(['f', 'n1', 'sub', 'b', '.']);
    return { kind: 'openat', slot: c.slot(), folder: c.folder(), path, flags: c.openFlags(), mode: c.mode() };
  },
  linkfd: (c) => ({ kind: 'linkfd', slot: c.file(), path: c.world.fresh() }),
  close: (c) => ({ kind: 'close', slot: c.any() }),
  read: (c) => ({ kind: 'read', slot: c.file(), length: c.size() }),
  pread: (c) => ({ kind: 'pread', slot: c.file(), offset: c.size(), length: c.size() }),
  write: (c) => ({ kind: 'write', slot: c.file(), length: c.size(), fill: c.fill() }),
  pwrite: (c) => ({ kind: 'pwrite', slot: c.file(), offset: c.size(), length: c.size(), fill: c.fill() }),
  ftruncate: (c) => ({ kind: 'ftruncate', slot: c.file(), size: c.size() }),
  fallocate: (c) => {
    const mode = c.random.pick(FALLOCATE_MODES);
    return { kind: 'fallocate', slot: c.file(), mode, offset: c.size(), length: c.size() };
  },
  seek: (c) => ({ kind: 'seek', slot: c.file(), what: c.random.pick(['data', 'hole']), offset: c.size() }),
  getdents: (c) => ({ kind: 'getdents', slot: c.folder() }),
  copy: (c) => ({ kind: 'copy', from: c.file(), to: c.file(), length: c.size() }),
  fsync: (c) => ({ kind: 'fsync', slot: c.any(), data: c.random.chance(0.5) }),
  fstat: (c) => ({ kind: 'fstat', slot: c.any() }),
  fchmod: (c) => ({ kind: 'fchmod', slot: c.changeable(), mode: c.mode() }),
  fchown: (c) => ({ kind: 'fchown', slot: c.changeable(), ...c.owners() }),
  readfile: (c) => ({ kind: 'readfile', path: c.world.path('f') }),
  writefile: (c) => {
    const more = c.random.pick([0, OPEN['O_CREAT'], OPEN['O_TRUNC'], 0o1100, OPEN['O_APPEND'], 0o2100]);
    const isNew = (more & OPEN['O_CREAT']) !== 0 && c.random.chance(0.4);
    const path = isNew ? c.world.fresh() : c.world.path('f');
    const flags = OPEN['O_NONBLOCK'] | OPEN['O_WRONLY'] | more;
    return { kind: 'writefile', path, flags, length: c.size(), fill: c.fill() };
  },
  truncate: (c) => ({ kind: 'truncate', path: c.world.path('f'), size: c.size() }),
  mkdir: (c) => ({ kind: 'mkdir', path: c.random.chance(0.8) ? c.world.fresh() : c.world.existing(), mode: c.mode() }),
  mknod: (c) => {
    const path = c.random.chance(0.75) ? c.world.fresh() : c.world.path(ALL_TYPES);
    const type = c.random.pick([0o010000, 0o010000, 0o140000, 0o020000, 0o060000, 0o100000]);
    // 0:0 is how a union spells a whiteout.
    const device = c.random.pick([
      [1, 3],
      [240, 77],
      [0, 0],
      [7, 300],
    ] as const);
    return { kind: 'mknod', path, mode: type | (c.random.pick(MODES) & 0o777), device };
  },
  symlink: (c) => {
    const nowhere = '/nonexistent-layerfs-union-diff/y';
    const target = c.random.pick(['f100', 'a', '../f100', '.', 'n1', 'nowhere/x', nowhere]);
    const path = c.random.chance(0.8) ? c.world.fresh() : c.world.existing();
    return { kind: 'symlink', target: c.random.chance(0.03) ? 'l'.repeat(4095) : target, path };
  },
  readlink: (c) => ({ kind: 'readlink', path: c.world.path('l') }),
  link: (c) => {
    const to = c.random.chance(0.8) ? c.world.fresh() : c.world.existing();
    return { kind: 'link', from: c.world.path('fffl'), to, follow: c.random.chance(0.2) };
  },
  unlink: (c) => ({ kind: 'unlink', path: c.world.path('flpc') }),
  rmdir: (c) => ({ kind: 'rmdir', path: c.random.chance(0.5) ? c.world.emptyFolder() : c.world.path('d') }),
  rmtree: (c) => ({ kind: 'rmtree', path: c.world.existing('d') }),
  // Each type onto each, onto nothing, onto itself, and folders into themselves.
  rename: (c) => {
    const dice = c.random.below(100);
    let from = c.world.path(dice < 45 ? 'd' : dice < 75 ? 'f' : ALL_TYPES);
    let to = c.random.chance(0.55) ? c.world.fresh() : c.world.path(c.random.pick(['d', 'f', ALL_TYPES]));
    if (c.random.chance(0.02)) to = from;
    if (c.random.chance(0.02)) [from, to] = [to, `${from}/n1`];
    return { kind: 'rename', from, to, flags: c.random.pick(RENAME_FLAGS) };
  },
  chmod: (c) => ({ kind: 'chmod', path: c.world.path('fd'), mode: c.mode() }),
  chown: (c) => ({ kind: 'chown', path: c.world.path(ALL_TYPES), ...c.owners(), follow: c.random.chance(0.3) }),
  utimes: (c) => {
    const times = { atime: c.time(), mtime: c.time() };
    return { kind: 'utimes', path: c.world.path(ALL_TYPES), ...times, follow: c.random.chance(0.3) };
  },
  setxattr: (c) => {
    const name = c.random.pick(XATTRS);
    const target = c.target(c.random.pick(['f', 'd', ALL_TYPES]));
    return { kind: 'setxattr', target, name, value: c.xattrValue(name), flags: c.random.pick([0, 0, 0, 1, 2]) };
  },
  getxattr: (c) => ({ kind: 'getxattr', ...xattr(c) }),
  listxattr: (c) => ({ kind: 'listxattr', target: c.target(ALL_TYPES) }),
  removexattr: (c) => ({ kind: 'removexattr', ...xattr(c) }),
  stat: (c) => ({ kind: 'stat', path: c.world.path(ALL_TYPES), follow: c.random.chance(0.3) }),
  readdir: (c) => ({ kind: 'readdir', path: c.random.chance(0.8) ? c.world.folder() : c.world.path(ALL_TYPES) }),
  access: (c) => ({ kind: 'access', path: c.world.path(ALL_TYPES), mode: c.random.below(8) }),
  statfs: (c) => ({ kind: 'statfs', path: c.world.path(ALL_TYPES) }),
};

/** Writes by a descriptor. */
const BY_DESCRIPTOR: ReadonlySet<Operation['kind']> = new Set(['write', 'pwrite', 'fallocate', 'copy']);

/** Mostly an attribute that was set. */
function xattr(c: Choices): { target: string | number; name: string } {
  const known = c.random.chance(0.5) ? c.world.xattr() : undefined;
  if (known !== undefined) return { target: known[0], name: known[1] };
  return { target: c.target(c.random.pick(['f', 'd', ALL_TYPES])), name: c.random.pick(XATTRS) };
}

export class Generator {
  readonly #random: Random;
  readonly #world: World;
  readonly #choices: Choices;
  /** What must come next. */
  readonly #queue: Operation[] = [];

  constructor(random: Random, world: World) {
    this.#random = random;
    this.#world = world;
    this.#choices = new Choices(random, world);
  }

  next(): Operation {
    const queued = this.#queue.shift();
    if (queued !== undefined) return queued;
    if (this.#random.chance(0.008)) this.#removeAll(this.#world.existing('d'));
    const action = MAKERS[this.#random.weighted(WEIGHTS)](this.#choices);
    // What a user may not remove, and where that ends rmtree, depends on the order of names.
    if (action.kind === 'rmtree') return action;
    // A file that became set-user-ID while it is open for writing by passthrough keeps that (docs/union.md).
    if (BY_DESCRIPTOR.has(action.kind)) return action;
    return this.#random.chance(0.06) ? { ...action, user: this.#random.pick([1000, 1000, 1001]) } : action;
  }

  /** As `rm -r` does it: whiteouts and opaque folders are made when merged folders are emptied, and made anew. */
  #removeAll(folder: string): void {
    for (const [path, type] of this.#world.contents(folder)) {
      this.#queue.push({ kind: type === 'd' ? 'rmdir' : 'unlink', path });
    }
    const dice = this.#random.below(4);
    // Else what follows is left to chance, or the folder stays empty.
    if (dice === 0) this.#queue.pop();
    if (dice === 1) this.#queue.push({ kind: 'mkdir', path: folder, mode: 0o755 });
    if (dice === 2) this.#queue.push({ kind: 'rename', from: this.#world.existing('d'), to: folder, flags: 0 });
  }
}
