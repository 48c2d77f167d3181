/** Random parts of operations: what there is to choose from, and how often each is chosen. */
import { CAPABILITY } from '../lower/entries.js';
import { OPEN, type GivenTime, type Target } from './operation.js';
import type { Random } from './random.js';
import { SLOTS } from './side.js';
import type { World } from './world.js';

const SIZES = [0, 1, 5, 100, 100, 1000, 4095, 4096, 5000, 20_000, 70_000, 131_073, 205_000];
export const MODES = [
  0, 0o400, 0o600, 0o644, 0o644, 0o666, 0o700, 0o755, 0o777, 0o1777, 0o2755, 0o2644, 0o4755, 0o6777,
];
export const OWNERS = [0, 0, 1000, 1000, 1001, 50, 4_000_000_000, 0xffffffff];
export const XATTRS = [
  'user.a',
  'user.a',
  'user.b',
  'user.new',
  'user.overlay.x',
  'trusted.t',
  'trusted.new',
  'trusted.overlay.x',
  'trusted.overlay.opaque',
  'security.capability',
  'system.posix_acl_access',
  'system.posix_acl_default',
  'unknown.x',
];
/** Mostly none, often EXCHANGE, rarely what is refused. */
export const RENAME_FLAGS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 4];
export const ALL_TYPES = 'dflpc';

function aclEntry(tag: number, permissions: number, id = 0xffffffff): Buffer {
  const entry = Buffer.alloc(8);
  entry.writeUInt16LE(tag, 0);
  entry.writeUInt16LE(permissions, 2);
  entry.writeUInt32LE(id, 4);
  return entry;
}

/** user::rwx, user:1000:…, group::…, mask::…, other::… as posix_acl_xattr.h lays them out. */
function acl(random: Random): string {
  const version = Buffer.from([2, 0, 0, 0]);
  const bits = (): number => random.below(8);
  const entries = [
    aclEntry(1, bits()),
    aclEntry(2, bits(), 1000),
    aclEntry(4, bits()),
    aclEntry(16, bits()),
    aclEntry(32, bits()),
  ];
  return Buffer.concat([version, ...entries]).toString('latin1');
}

export class Choices {
  readonly random: Random;
  readonly world: World;

  constructor(random: Random, world: World) {
    this.random = random;
    this.world = world;
  }

  /** A slot to open something in. */
  slot(): number {
    return this.random.below(SLOTS);
  }

  /** A slot with an open file. */
  file(): number {
    return this.world.slot('file', SLOTS);
  }

  folder(): number {
    return this.world.slot('folder', SLOTS);
  }

  any(): number {
    return this.world.slot(undefined, SLOTS);
  }

  /** A slot whose attributes may be changed. */
  changeable(): number {
    return this.world.slotToChange(SLOTS);
  }

  mode(): number {
    return this.random.pick(MODES);
  }

  owners(): { uid: number; gid: number } {
    return { uid: this.random.pick(OWNERS), gid: this.random.pick(OWNERS) };
  }

  size(): number {
    const size = this.random.pick(SIZES);
    return this.random.chance(0.3) ? this.random.below(size + 1) : size;
  }

  fill(): number {
    return 1 + this.random.below(255);
  }

  target(types: string): Target {
    return this.random.chance(0.25) ? this.changeable() : this.world.path(types);
  }

  time(): GivenTime {
    const dice = this.random.below(10);
    if (dice < 2) return 'now';
    if (dice < 4) return 'omit';
    // In the past (see RECENT), also before 1970.
    return [this.random.below(1_500_000_000) - 100_000_000, this.random.below(1_000_000_000)];
  }

  openFlags(): number {
    let flags = OPEN['O_NONBLOCK'] | this.random.pick([0, 0, 1, 2, 2, 2]);
    const add = (name: string, probability: number): void => {
      if (this.random.chance(probability)) flags |= OPEN[name];
    };
    add('O_CREAT', 0.35);
    add('O_EXCL', 0.08);
    add('O_TRUNC', 0.15);
    add('O_APPEND', 0.2);
    add('O_DIRECTORY', 0.06);
    add('O_NOFOLLOW', 0.1);
    add('O_PATH', 0.06);
    add('O_DSYNC', 0.02);
    return flags;
  }

  /** A value that the kernel may take for the attribute. */
  xattrValue(name: string): string {
    const value = this.random.pick(['', 'v', 'value', 'x'.repeat(300), 'y', 'y'.repeat(3000)]);
    if (this.random.chance(0.15)) return value;
    if (name === 'security.capability') return Buffer.from(CAPABILITY).toString('latin1');
    return name.startsWith('system.posix_acl') ? acl(this.random) : value;
  }
}
