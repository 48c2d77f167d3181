/**
 * A file system that passes everything through to a folder and writes down what changes it. It sees what reaches a disk,
 * whoever asks for it: Node.js, its threads, koffi, SQLite. One thread serves it, so that the order of the log is the order
 * in which things took effect. The kernel passes syncfs(2) on to no such file system: hooks.ts tells of it.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  truncateSync,
  unlinkSync,
  writeSync,
  type BigIntStats,
} from 'node:fs';
import { Attr, FATTR, FOPEN, INIT, type Caller, type FileSystem, type Reply, type SetAttr } from '@layerfs/fuse';
import { AT_FDCWD, ErrnoError, RENAME, errno, renameat2 } from '@layerfs/linux';
import { Faults } from './fault.js';
import { COUNT, FAULT, MARK, ROOT, SAVE, SYNC_BEGIN, SYNC_END, saveLog, type Operation } from './log.js';

/** FUSE_WRITE_CACHE of linux/fuse.h. */
const WRITE_CACHE = 1;
const O_PATH = 0o10000000;
/** What the kernel has seen to, or what the folder below must not do of itself. */
const NOT_PASSED = constants.O_DIRECT | constants.O_DSYNC | constants.O_SYNC | constants.O_APPEND | constants.O_EXCL;
/** Nobody else changes the folder. */
const LIFETIME = 3600;

interface Node {
  readonly id: number;
  readonly fd: number;
  lookups: number;
}

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1');

export class Recorder implements FileSystem {
  readonly init = {
    capabilities: [INIT.ASYNC_READ, INIT.MAX_PAGES, INIT.BIG_WRITES, INIT.PARALLEL_DIROPS],
  };
  readonly #log: Operation[] = [];
  readonly #faults = new Faults();
  readonly #nodes = new Map<number, Node>();
  /** Of the folder's own inode numbers. */
  readonly #ids = new Map<bigint, number>();
  readonly #folders = new Map<number, { name: string; type: number }[]>();
  readonly #attr = new Attr();
  readonly #logFile: string;
  #next = ROOT + 1;

  constructor(folder: string, logFile: string) {
    this.#logFile = logFile;
    const fd = openSync(folder, O_PATH);
    this.#nodes.set(ROOT, { id: ROOT, fd, lookups: 1 });
    this.#ids.set(fstatSync(fd, { bigint: true }).ino, ROOT);
  }

  #node(nodeid: number): Node {
    const node = this.#nodes.get(nodeid);
    if (node === undefined) throw new ErrnoError(errno.ESTALE, 'recorder');
    return node;
  }

  #path(nodeid: number, name?: string): Buffer {
    const own = bytes(`/proc/self/fd/${this.#node(nodeid).fd}`);
    return name === undefined ? own : Buffer.concat([own, bytes(`/${name}`)]);
  }

  #fill(stat: BigIntStats): Attr {
    const a = this.#attr;
    a.ino = this.#ids.get(stat.ino) ?? Number(stat.ino);
    a.size = Number(stat.size);
    a.blocks = Number(stat.blocks);
    [a.atimeSec, a.atimeNsec] = split(stat.atimeNs);
    [a.mtimeSec, a.mtimeNsec] = split(stat.mtimeNs);
    [a.ctimeSec, a.ctimeNsec] = split(stat.ctimeNs);
    a.mode = Number(stat.mode);
    a.nlink = Number(stat.nlink);
    a.uid = Number(stat.uid);
    a.gid = Number(stat.gid);
    a.rdev = 0;
    return a;
  }

  /** The number of what a name stands for. */
  #idOf(parent: number, name: string, fresh = false): number {
    const { ino } = lstatSync(this.#path(parent, name), { bigint: true });
    let id = fresh ? undefined : this.#ids.get(ino);
    if (id === undefined) this.#ids.set(ino, (id = this.#next++));
    return id;
  }

  #look(parent: number, name: string): { id: number; attr: Attr } {
    const path = this.#path(parent, name);
    const id = this.#idOf(parent, name);
    const known = this.#nodes.get(id);
    if (known !== undefined) known.lookups++;
    else this.#nodes.set(id, { id, fd: openSync(path, O_PATH | constants.O_NOFOLLOW), lookups: 1 });
    return { id, attr: this.#fill(lstatSync(path, { bigint: true })) };
  }

  #entry(parent: number, name: string, reply: Reply): void {
    const { id, attr } = this.#look(parent, name);
    reply.entry(id, attr, LIFETIME, LIFETIME);
  }

  /** What a program tells us; true when it was that. */
  #told(name: string, reply: Reply): boolean {
    if (name.startsWith(MARK)) this.#log.push({ op: 'mark', text: name.slice(MARK.length) });
    else if (name.startsWith(SYNC_END)) this.#log.push({ op: 'sync-end', number: Number(name.slice(SYNC_END.length)) });
    else if (name.startsWith(FAULT)) this.#faults.plan(name.slice(FAULT.length));
    else if (name === SAVE) saveLog(this.#logFile, this.#log);
    else if (name === COUNT) {
      const attr = this.#fill(lstatSync(this.#path(ROOT), { bigint: true }));
      attr.size = this.#faults.count;
      attr.mode = 0o100400;
      reply.entry(this.#next++, attr, 0, LIFETIME);
      return true;
    } else if (name.startsWith(SYNC_BEGIN)) {
      this.#faults.request('sync');
      this.#log.push({ op: 'sync-begin', number: Number(name.slice(SYNC_BEGIN.length)) });
    } else return false;
    reply.negative(0);
    return true;
  }

  lookup({ nodeid }: Caller, name: string, reply: Reply): void {
    if (nodeid === ROOT && this.#told(name, reply)) return;
    this.#faults.request('look');
    try {
      this.#entry(nodeid, name, reply);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      reply.negative(0);
    }
  }

  forget(nodeid: number, count: number): void {
    const node = this.#nodes.get(nodeid);
    if (node === undefined || nodeid === ROOT) return;
    node.lookups -= count;
    if (node.lookups > 0) return;
    this.#nodes.delete(nodeid);
    closeSync(node.fd);
  }

  getattr({ nodeid }: Caller, fh: number | undefined, reply: Reply): void {
    const stat = fstatSync(fh ?? this.#node(nodeid).fd, { bigint: true });
    reply.attr(this.#fill(stat), LIFETIME);
  }

  setattr({ nodeid }: Caller, changes: SetAttr, reply: Reply): void {
    this.#faults.request('write');
    const { valid, fh, size, mode } = changes;
    const file = (valid & FATTR.FH) !== 0 ? fh : undefined;
    const path = this.#path(nodeid);
    if ((valid & FATTR.SIZE) !== 0) {
      if (file === undefined) truncateSync(path, size);
      else ftruncateSync(file, size);
      this.#log.push({ op: 'size', id: nodeid, size });
    }
    if ((valid & FATTR.MODE) !== 0) {
      if (file === undefined) chmodSync(path, mode & 0o7777);
      else fchmodSync(file, mode & 0o7777);
      this.#log.push({ op: 'mode', id: nodeid, mode: mode & 0o7777 });
    }
    // Times and owners matter to nobody here; they are set all the same, as they are asked for again.
    if ((valid & FATTR.MTIME) !== 0) {
      const time = changes.mtimeSec + changes.mtimeNsec / 1e9;
      if (file === undefined) lutimesSync(path, time, time);
      else futimesSync(file, time, time);
    }
    reply.attr(this.#fill(fstatSync(this.#node(nodeid).fd, { bigint: true })), LIFETIME);
  }

  mkdir({ nodeid }: Caller, name: string, mode: number, umask: number, reply: Reply): void {
    this.#faults.request('add');
    mkdirSync(this.#path(nodeid, name), mode & ~umask & 0o7777);
    const id = this.#idOf(nodeid, name, true);
    this.#log.push({ op: 'mkdir', id, parent: nodeid, name, mode: mode & ~umask & 0o7777 });
    this.#entry(nodeid, name, reply);
  }

  unlink({ nodeid }: Caller, name: string, reply: Reply): void {
    this.#faults.request('remove');
    const id = this.#idOf(nodeid, name);
    unlinkSync(this.#path(nodeid, name));
    this.#log.push({ op: 'unlink', id, parent: nodeid, name });
    reply.ok();
  }

  rmdir({ nodeid }: Caller, name: string, reply: Reply): void {
    this.#faults.request('remove');
    const id = this.#idOf(nodeid, name);
    rmdirSync(this.#path(nodeid, name));
    this.#log.push({ op: 'rmdir', id, parent: nodeid, name });
    reply.ok();
  }

  rename({ nodeid }: Caller, name: string, toParent: number, toName: string, flags: number, reply: Reply): void {
    this.#faults.request('add');
    const id = this.#idOf(nodeid, name);
    const names = { parent: nodeid, name, toParent, toName };
    const other = flags === RENAME.EXCHANGE ? this.#idOf(toParent, toName) : 0;
    renameat2(AT_FDCWD, this.#path(nodeid, name), AT_FDCWD, this.#path(toParent, toName), flags);
    this.#log.push(other === 0 ? { op: 'rename', id, ...names } : { op: 'exchange', id, other, ...names });
    reply.ok();
  }

  link({ nodeid }: Caller, id: number, name: string, reply: Reply): void {
    this.#faults.request('add');
    // link(2) does not follow /proc's links by itself, and by Node.js not at all.
    linkSync(this.#realPath(id), this.#path(nodeid, name));
    this.#log.push({ op: 'link', id, parent: nodeid, name });
    this.#entry(nodeid, name, reply);
  }

  #realPath(nodeid: number): string {
    return realpath(this.#node(nodeid).fd);
  }

  open({ nodeid }: Caller, flags: number, _kill: boolean, reply: Reply): void {
    this.#faults.request('open');
    const fd = openSync(this.#path(nodeid), flags & ~NOT_PASSED & ~constants.O_NOFOLLOW);
    if ((flags & constants.O_TRUNC) !== 0) this.#log.push({ op: 'size', id: nodeid, size: 0 });
    reply.open(fd, FOPEN.KEEP_CACHE);
  }

  create({ nodeid }: Caller, name: string, flags: number, mode: number, umask: number, reply: Reply): void {
    this.#faults.request('add');
    const access = mode & ~umask & 0o7777;
    const fd = openSync(this.#path(nodeid, name), (flags & ~NOT_PASSED) | constants.O_CREAT | constants.O_EXCL, access);
    const id = this.#idOf(nodeid, name, true);
    this.#log.push({ op: 'create', id, parent: nodeid, name, mode: access });
    const { attr } = this.#look(nodeid, name);
    reply.create(id, attr, LIFETIME, LIFETIME, fd, FOPEN.KEEP_CACHE);
  }

  read(_: Caller, fh: number, offset: number, size: number, reply: Reply): void {
    this.#faults.request('read');
    reply.readFrom(fh, offset, size);
  }

  write({ nodeid }: Caller, fh: number, offset: number, data: Uint8Array, flags: number, reply: Reply): void {
    // What was written through a map comes later, and is nobody's doing any more.
    if ((flags & WRITE_CACHE) === 0) this.#faults.request('write');
    const count = writeSync(fh, data, 0, data.length, offset);
    this.#log.push({ op: 'write', id: nodeid, offset, data: Uint8Array.from(data.subarray(0, count)) });
    reply.written(count);
  }

  release(_: Caller, fh: number, _flags: number, reply: Reply): void {
    closeSync(fh);
    reply.ok();
  }

  fsync({ nodeid }: Caller, _fh: number, _dataOnly: boolean, reply: Reply): void {
    this.#faults.request('sync');
    this.#log.push({ op: 'sync', id: nodeid });
    reply.ok();
  }

  fsyncdir(caller: Caller, fh: number, dataOnly: boolean, reply: Reply): void {
    this.fsync(caller, fh, dataOnly, reply);
  }

  opendir({ nodeid }: Caller, _flags: number, reply: Reply): void {
    this.#faults.request('open');
    const fh = this.#next++;
    const entries = readdirSync(this.#path(nodeid), { withFileTypes: true, encoding: 'latin1' });
    this.#folders.set(
      fh,
      entries.map((entry) => ({ name: entry.name, type: entry.isDirectory() ? 4 : 8 })),
    );
    reply.open(fh, 0);
  }

  readdir(_: Caller, fh: number, offset: number, size: number, reply: Reply): void {
    this.#faults.request('read');
    reply.directory(size);
    const entries = this.#folders.get(fh) ?? [];
    for (let i = offset; i < entries.length; i++) {
      const name = bytes(entries[i].name);
      // The number is only for show.
      if (!reply.addDirent(i + 1, entries[i].type, i + 1, name, 0, name.length)) break;
    }
  }

  releasedir(_: Caller, fh: number, _flags: number, reply: Reply): void {
    this.#folders.delete(fh);
    reply.ok();
  }

  statfs(_: Caller, reply: Reply): void {
    reply.statfs({
      bsize: 4096,
      blocks: 1 << 20,
      bfree: 1 << 19,
      bavail: 1 << 19,
      files: 1 << 20,
      ffree: 1 << 19,
      namelen: 255,
    });
  }
}

function split(ns: bigint): [number, number] {
  const nsec = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return [Number((ns - nsec) / 1_000_000_000n), Number(nsec)];
}

function realpath(fd: number): string {
  return readlinkSync(`/proc/self/fd/${fd}`);
}
