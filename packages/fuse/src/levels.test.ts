/** Sessions with kernels of every protocol level since 7.19: what we answer, byte by byte, has the structs of that level. */
import { afterEach, describe, expect, it } from 'vitest';
import { errno } from '@layerfs/linux';
import { ENDED, SERVED } from './connection.js';
import { FakeKernel, flagWord, offeredAt, struct } from './fake-kernel.test-support.js';
import type { FileSystem } from './filesystem.js';
import { Attr } from './wire/attr.js';
import { INIT, OPCODE } from './wire/constants.js';

const NEWEST = 45;
const LEVELS = Array.from({ length: NEWEST - 19 + 1 }, (_, i) => 19 + i);
/** What our file systems ask for, and more. */
const WANTED: number[] = [
  INIT.ASYNC_READ,
  INIT.ATOMIC_O_TRUNC,
  INIT.EXPORT_SUPPORT,
  INIT.BIG_WRITES,
  INIT.DONT_MASK,
  INIT.DO_READDIRPLUS,
  INIT.PARALLEL_DIROPS,
  INIT.POSIX_ACL,
  INIT.MAX_PAGES,
  INIT.CACHE_SYMLINKS,
  INIT.EXPLICIT_INVAL_DATA,
  INIT.HANDLE_KILLPRIV_V2,
  INIT.SETXATTR_EXT,
  INIT.PASSTHROUGH,
  INIT.ALLOW_IDMAP,
];

type Methods = Required<FileSystem>;

const CONTENT = Buffer.from('hello, kernel');
const text = (...names: string[]): Buffer => Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1');

function attrOf(ino: number, mode: number, size: number): Attr {
  return Object.assign(new Attr(), { ino, mode, size, blocks: 8, mtimeSec: -7, mtimeNsec: 5, uid: 1, gid: 2, rdev: 3 });
}

/** struct fuse_attr, 88 bytes since 7.9. */
function attrBytes(ino: number, mode: number, size: number): Buffer {
  const [times, nanos] = [
    [0, -7, 0],
    [0, 5, 0],
  ];
  return struct(
    [8, ino],
    [8, size],
    [8, 8],
    ...times.map((time) => [8, time] as const),
    ...nanos.map((time) => [4, time] as const),
    [4, mode],
    [4, 1],
    [4, 1],
    [4, 2],
    [4, 3],
    [4, 4096],
    [4, 0],
  );
}

/** struct fuse_entry_out, 128 bytes. */
function entryBytes(nodeid: number, attr: Buffer): Buffer {
  return Buffer.concat([struct([8, nodeid], [8, 0], [8, 60], [8, 30], [4, 500_000_000], [4, 0]), attr]);
}

/** A folder (1) with a file (2) and what is made (9); it notes what it is asked. */
class Small implements FileSystem {
  readonly init;
  readonly asked: unknown[] = [];

  constructor(maxWrite?: number) {
    this.init = { capabilities: WANTED, ...(maxWrite === undefined ? {} : { maxWrite }) };
  }

  lookup: Methods['lookup'] = (_c, name, reply) => {
    if (name === 'file') reply.entry(2, attrOf(2, 0o100644, CONTENT.length), 60.5, 30);
    else reply.negative(60);
  };
  getattr: Methods['getattr'] = (_c, fh, reply) => {
    this.asked.push(['getattr', fh]);
    reply.attr(attrOf(2, 0o100644, CONTENT.length), 30);
  };
  setattr: Methods['setattr'] = (_c, changes, reply) => {
    this.asked.push(['setattr', changes]);
    reply.attr(attrOf(2, 0o100600, 5), 30);
  };
  readlink: Methods['readlink'] = (_c, reply) => reply.data(Buffer.from('target'));
  open: Methods['open'] = (_c, flags, kill, reply) => {
    this.asked.push(['open', flags, kill]);
    reply.open(77, 2);
  };
  create: Methods['create'] = (_c, name, flags, mode, umask, reply) => {
    this.asked.push(['create', name, flags, mode, umask]);
    reply.create(9, attrOf(9, 0o100640, 0), 60.5, 30, 78, 0);
  };
  tmpfile: Methods['tmpfile'] = (_c, _flags, _mode, _umask, reply) =>
    reply.create(9, attrOf(9, 0o100640, 0), 60.5, 30, 78, 0);
  mknod: Methods['mknod'] = (_c, name, mode, rdev, umask, reply) => {
    this.asked.push(['mknod', name, mode, rdev, umask]);
    reply.entry(9, attrOf(9, 0o100640, 0), 60.5, 30);
  };
  read: Methods['read'] = (_c, fh, offset, size, reply) => {
    this.asked.push(['read', fh, offset, size]);
    reply.data(CONTENT.subarray(offset, offset + size));
  };
  write: Methods['write'] = (_c, fh, offset, data, _flags, reply) => {
    this.asked.push(['write', fh, offset, data.length]);
    reply.written(data.length);
  };
  flush: Methods['flush'] = (_c, _fh, _owner, reply) => reply.ok();
  release: Methods['release'] = (_c, fh, _flags, reply) => {
    this.asked.push(['release', fh]);
    reply.ok();
  };
  opendir: Methods['opendir'] = (_c, _flags, reply) => reply.open(5, 0);
  readdir: Methods['readdir'] = (_c, _fh, offset, size, reply) => {
    reply.directory(size);
    if (offset < 1) reply.addDirent(2, 8, 1, Buffer.from('file'), 0, 4);
  };
  readdirplus: Methods['readdirplus'] = (_c, _fh, offset, size, reply) => {
    reply.directory(size);
    if (offset < 1) reply.addDirentPlus(2, attrOf(2, 0o100644, 13), 60, 8, 1, Buffer.from('file'), 0, 4);
  };
  rename: Methods['rename'] = (_c, name, parent, newName, flags, reply) => {
    this.asked.push(['rename', name, parent, newName, flags]);
    reply.ok();
  };
  statfs: Methods['statfs'] = (_c, reply) =>
    reply.statfs({ bsize: 4096, blocks: 2 ** 33, bfree: 2, bavail: 3, files: 4, ffree: 5, namelen: 255 });
  setxattr: Methods['setxattr'] = (_c, name, value, flags, kill, reply) => {
    this.asked.push(['setxattr', name, Buffer.from(value).toString(), flags, kill]);
    reply.ok();
  };
  getxattr: Methods['getxattr'] = (_c, _name, size, reply) => reply.xattr(Buffer.from('value'), size);
  listxattr: Methods['listxattr'] = (_c, size, reply) => reply.xattr(text('user.a'), size);
  removexattr: Methods['removexattr'] = (_c, _name, reply) => reply.ok();
  lseek: Methods['lseek'] = (_c, _fh, offset, _whence, reply) => reply.offset(offset + 1);
  copyFileRange: Methods['copyFileRange'] = (_c, _fh, _o, _n, _t, _p, length, reply) => reply.written(length);
  syncfs: Methods['syncfs'] = (_c, reply) => reply.ok();
  statx: Methods['statx'] = (_c, reply) => reply.statx(attrOf(2, 0o100644, 13), 30, undefined);
  forget: Methods['forget'] = (nodeid, count) => void this.asked.push(['forget', nodeid, count]);
}

let kernel: FakeKernel | undefined;
afterEach(() => {
  kernel?.close();
  kernel = undefined;
});

/** struct fuse_init_out as this level has it: 24 bytes until 7.22, then 64; what came later is zero. */
function initBytes(minor: number, offered: readonly number[], maxWrite: number): Buffer {
  const agreed = WANTED.filter((bit) => offered.includes(bit));
  if (offered.includes(INIT.INIT_EXT)) agreed.push(INIT.INIT_EXT);
  const pages = agreed.includes(INIT.MAX_PAGES);
  const write = pages ? maxWrite : Math.min(maxWrite, 32 * 4096);
  const head = struct(
    [4, 7],
    [4, Math.min(minor, NEWEST)],
    [4, 131072],
    [4, flagWord(agreed, false)],
    [4, 64 | (48 << 16)],
    [4, write],
  );
  if (minor < 23) return head;
  const tail = struct(
    [4, 1],
    [4, pages ? Math.ceil(write / 4096) : 0],
    [4, flagWord(agreed, true)],
    [4, agreed.includes(INIT.PASSTHROUGH) ? 1 : 0],
  );
  return Buffer.concat([head, tail, Buffer.alloc(64 - 24 - 16)]);
}

/** A session of all that a kernel of this level may ask, each answer compared with the struct of the level. */
function play(fake: FakeKernel, fs: Small, minor: number, agreed: ReadonlySet<number>): void {
  const file = attrBytes(2, 0o100644, CONTENT.length);
  const made = attrBytes(9, 0o100640, 0);
  expect(fake.ask(OPCODE.LOOKUP, 1, text('file'))).toEqual(entryBytes(2, file));
  const missing = fake.ask(OPCODE.LOOKUP, 1, text('none')) as Buffer;
  expect([missing.length, missing.readBigUInt64LE(0), missing.readBigUInt64LE(16)]).toEqual([128, 0n, 60n]);
  const attrOut = (attr: Buffer): Buffer => Buffer.concat([struct([8, 30], [4, 0], [4, 0]), attr]);
  expect(fake.ask(OPCODE.GETATTR, 2, struct([4, 1], [4, 0], [8, 77]))).toEqual(attrOut(file));
  const setattr = struct([4, 8 | 1], [4, 0], [8, 0], [8, 5], [8, 0], [8, 0], [8, 0], [8, 0]);
  const rest = struct([4, 0], [4, 0], [4, 0], [4, 0o600], [4, 0], [4, 0], [4, 0], [4, 0]);
  expect(fake.ask(OPCODE.SETATTR, 2, setattr, rest)).toEqual(attrOut(attrBytes(2, 0o100600, 5)));
  expect(fake.ask(OPCODE.READLINK, 3)).toEqual(Buffer.from('target'));
  const folder = fake.ask(OPCODE.OPENDIR, 1, struct([4, 0], [4, 0])) as Buffer;
  expect(folder).toEqual(struct([8, 5], [4, 0], [4, 0]));
  const dirent = Buffer.concat([struct([8, 2], [8, 1], [4, 4], [4, 8]), Buffer.from('file\0\0\0\0')]);
  const reading = (offset: number, size: number): Buffer =>
    struct([8, 77], [8, offset], [4, size], [4, 0], [8, 0], [4, 0], [4, 0]);
  expect(fake.ask(OPCODE.READDIR, 1, reading(0, 4096))).toEqual(dirent);
  expect(fake.ask(OPCODE.READDIR, 1, reading(1, 4096))).toEqual(Buffer.alloc(0));
  // A buffer of one entry's size less a byte: nothing is cut in two.
  expect(fake.ask(OPCODE.READDIR, 1, reading(0, dirent.length - 1))).toEqual(Buffer.alloc(0));
  if (agreed.has(INIT.DO_READDIRPLUS)) {
    const plus = fake.ask(OPCODE.READDIRPLUS, 1, reading(0, 4096)) as Buffer;
    expect([plus.length, plus.subarray(40, 128)]).toEqual([128 + dirent.length, file]);
    expect(plus.subarray(128)).toEqual(dirent);
  }
  expect(fake.ask(OPCODE.OPEN, 2, struct([4, 2], [4, 0]))).toEqual(struct([8, 77], [4, 2], [4, 0]));
  expect(fake.ask(OPCODE.READ, 2, reading(7, 4096))).toEqual(CONTENT.subarray(7));
  const page = Buffer.alloc(4096, 'x');
  const writing = struct([8, 77], [8, 8192], [4, page.length], [4, 0], [8, 0], [4, 1], [4, 0]);
  expect(fake.ask(OPCODE.WRITE, 2, writing, page)).toEqual(struct([4, 4096], [4, 0]));
  expect(fake.ask(OPCODE.FLUSH, 2, struct([8, 77], [4, 0], [4, 0], [8, 1]))).toEqual(Buffer.alloc(0));
  expect(fake.ask(OPCODE.RELEASE, 2, struct([8, 77], [4, 0], [4, 0], [8, 1]))).toEqual(Buffer.alloc(0));
  const creating = struct([4, 0o102], [4, 0o100666], [4, 0o27], [4, 0]);
  const created = Buffer.concat([entryBytes(9, made), struct([8, 78], [4, 0], [4, 0])]);
  expect(fake.ask(OPCODE.CREATE, 1, creating, text('made'))).toEqual(created);
  const node = struct([4, 0o100600], [4, 0x103], [4, 0o22], [4, 0]);
  expect(fake.ask(OPCODE.MKNOD, 1, node, text('node'))).toEqual(entryBytes(9, made));
  expect(fake.ask(OPCODE.RENAME, 1, struct([8, 1]), text('made', 'moved'))).toEqual(Buffer.alloc(0));
  if (minor >= 23) {
    const two = struct([8, 1], [4, 1], [4, 0]);
    expect(fake.ask(OPCODE.RENAME2, 1, two, text('moved', 'again'))).toEqual(Buffer.alloc(0));
  }
  // struct fuse_setxattr_in grew when both sides have SETXATTR_EXT, and not before.
  const long = agreed.has(INIT.SETXATTR_EXT);
  const setting = long ? struct([4, 3], [4, 1], [4, 1], [4, 0]) : struct([4, 3], [4, 1]);
  expect(fake.ask(OPCODE.SETXATTR, 2, setting, text('user.a'), Buffer.from('abc'))).toEqual(Buffer.alloc(0));
  const asking = (size: number): Buffer => struct([4, size], [4, 0]);
  expect(fake.ask(OPCODE.GETXATTR, 2, asking(0), text('user.a'))).toEqual(struct([4, 5], [4, 0]));
  expect(fake.ask(OPCODE.GETXATTR, 2, asking(64), text('user.a'))).toEqual(Buffer.from('value'));
  expect(fake.ask(OPCODE.GETXATTR, 2, asking(4), text('user.a'))).toBe(-errno.ERANGE);
  expect(fake.ask(OPCODE.LISTXATTR, 2, asking(64))).toEqual(text('user.a'));
  expect(fake.ask(OPCODE.REMOVEXATTR, 2, text('user.a'))).toEqual(Buffer.alloc(0));
  const figures = [2 ** 33, 2, 3, 4, 5].map((value) => [8, value] as const);
  const statfs = Buffer.concat([struct(...figures, [4, 4096], [4, 255], [4, 4096], [4, 0]), Buffer.alloc(24)]);
  expect(fake.ask(OPCODE.STATFS, 1)).toEqual(statfs);
  if (minor >= 24) expect(fake.ask(OPCODE.LSEEK, 2, struct([8, 77], [8, 4], [4, 3], [4, 0]))).toEqual(struct([8, 5]));
  if (minor >= 28) {
    const copying = struct([8, 77], [8, 0], [8, 2], [8, 77], [8, 0], [8, 9], [8, 0]);
    expect(fake.ask(OPCODE.COPY_FILE_RANGE, 2, copying)).toEqual(struct([4, 9], [4, 0]));
  }
  if (minor >= 34) expect(fake.ask(OPCODE.SYNCFS, 1, Buffer.alloc(8))).toEqual(Buffer.alloc(0));
  if (minor >= 37) expect(fake.ask(OPCODE.TMPFILE, 1, creating)).toEqual(created);
  if (minor >= 39) expect((fake.ask(OPCODE.STATX, 2, Buffer.alloc(24)) as Buffer).length).toBe(288);
  // No answers.
  expect(fake.send(OPCODE.FORGET, 2, struct([8, 1]))).toBe(SERVED);
  expect(fake.send(OPCODE.BATCH_FORGET, 0, struct([4, 1], [4, 0]), struct([8, 9], [8, 2]))).toBe(SERVED);
  expect(fake.receive()).toBeUndefined();
  // What is of no level yet.
  expect(fake.ask(63, 1)).toBe(-errno.ENOSYS);
  expect(fs.asked).toEqual([
    ['getattr', 77],
    ['setattr', expect.objectContaining({ valid: 9, size: 5, mode: 0o600 })],
    ['open', 2, false],
    ['read', 77, 7, 4096],
    ['write', 77, 8192, 4096],
    ['release', 77],
    ['create', 'made', 0o102, 0o100666, 0o27],
    ['mknod', 'node', 0o100600, 0x103, 0o22],
    ['rename', 'made', 1, 'moved', 0],
    ...(minor >= 23 ? [['rename', 'moved', 1, 'again', 1]] : []),
    ['setxattr', 'user.a', 'abc', 1, long],
    ['forget', 2, 1],
    ['forget', 9, 2],
  ]);
  expect(fake.errors).toEqual([]);
  expect(fake.send(OPCODE.DESTROY, 0)).toBe(ENDED);
  expect(fake.receive()).toEqual({ error: 0, body: Buffer.alloc(0) });
}

describe.each([
  ['all that its level has', (minor: number) => offeredAt(minor)],
  ['nothing', () => []],
  [
    'all but passthrough, READDIRPLUS and many pages',
    (minor: number) =>
      offeredAt(minor).filter((bit) => ![INIT.PASSTHROUGH, INIT.DO_READDIRPLUS, INIT.MAX_PAGES].includes(bit as never)),
  ],
] as const)('a kernel that offers %s', (_, offer) => {
  it.each(LEVELS)('of protocol 7.%i', (minor) => {
    const fs = new Small();
    kernel = new FakeKernel(fs);
    const offered = offer(minor);
    expect(kernel.init(7, minor, offered)).toEqual(initBytes(minor, offered, 1 << 20));
    expect(kernel.connection.negotiated).toMatchObject({ minor });
    play(kernel, fs, minor, kernel.connection.negotiated?.capabilities ?? new Set());
  });
});

describe('INIT', () => {
  it.each(LEVELS)('with writes of one page, as protocol 7.%i', (minor) => {
    const fs = new Small(4096);
    kernel = new FakeKernel(fs);
    expect(kernel.init(7, minor, offeredAt(minor))).toEqual(initBytes(minor, offeredAt(minor), 4096));
    expect(kernel.connection.negotiated?.maxWrite).toBe(4096);
    play(kernel, fs, minor, kernel.connection.negotiated?.capabilities ?? new Set());
  });

  it('agrees with a kernel of a later minor on ours, and leaves flags that it does not know alone', () => {
    const fs = new Small();
    kernel = new FakeKernel(fs);
    const every = Array.from({ length: 64 }, (_, bit) => bit);
    expect(kernel.init(7, 99, every)).toEqual(initBytes(99, every, 1 << 20));
    expect(kernel.connection.negotiated?.minor).toBe(NEWEST);
    play(kernel, fs, NEWEST, kernel.connection.negotiated?.capabilities ?? new Set());
  });

  it('says 7 to a kernel of major 8, and waits to be asked again', () => {
    const fs = new Small();
    kernel = new FakeKernel(fs);
    const answer = kernel.init(8, 3, []) as Buffer;
    expect(answer).toEqual(struct([4, 7], [4, NEWEST], [4, 0], [4, 0], [4, 0], [4, 0]));
    expect([kernel.connection.negotiated, kernel.connection.refusal]).toEqual([undefined, undefined]);
    expect(kernel.init(7, 45, offeredAt(45))).toEqual(initBytes(45, offeredAt(45), 1 << 20));
    play(kernel, fs, 45, kernel.connection.negotiated?.capabilities ?? new Set());
  });

  it.each([
    [6, 1],
    [6, 99],
    [7, 0],
    [7, 12],
    [7, 18],
  ])('refuses protocol %i.%i, and says why', (major, minor) => {
    kernel = new FakeKernel(new Small());
    expect(kernel.init(major, minor, [])).toBe(-errno.EPROTO);
    expect(kernel.connection.negotiated).toBeUndefined();
    expect(kernel.connection.refusal).toBe(
      `This kernel speaks FUSE protocol ${major}.${minor}; at least 7.19 (Linux 3.5) is needed`,
    );
  });

  it('refuses one that is too short', () => {
    kernel = new FakeKernel(new Small());
    expect(kernel.ask(OPCODE.INIT, 0, struct([4, 7], [4, 45]))).toBe(-errno.EINVAL);
    expect(kernel.connection.negotiated).toBeUndefined();
  });
});
