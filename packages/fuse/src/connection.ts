import { ErrnoError, close, errno, ioctl, readRaw, writeRaw } from '@layerfs/linux';
import type { FileSystem } from './filesystem.js';
import { opcodeName, operations } from './opcodes.js';
import { DEV_IOC, INIT, NOTIFY, OPCODE, OUT_HEADER_SIZE } from './wire/constants.js';
import { putU64 } from './wire/attr.js';
import { OldProtocol, answerInit, type Negotiated } from './wire/init.js';
import type { Reply } from './wire/reply.js';
import type { Request } from './wire/request.js';

/** One served request, for traces. */
export interface ServedRequest {
  readonly opcode: string;
  readonly nodeid: number;
  /** The name a LOOKUP or the like asked for. */
  readonly name: string | undefined;
  /** From reading the request to the written answer, in microseconds; of a deferred one, until it was put aside. */
  readonly micros: number;
  readonly errno: number;
  /** Bytes of the answer, header included. */
  readonly bytes: number;
}

/** Hooks of a connection; all are called in the serving thread. */
export interface ConnectionHooks {
  /** A request went wrong in a way that is not the caller's doing; it was answered with an error. */
  readonly onError?: (error: unknown, opcode: string) => void;
  /** Called for each request; leave it out and tracing costs nothing. */
  readonly onRequest?: (request: ServedRequest) => void;
}

/** What a file system can have done by the side that asks it. */
export interface KernelSide {
  /** Whether a file's data may be served by the kernel out of another file. */
  readonly passthrough: boolean;
  openBacking(fd: number): number;
  closeBacking(id: number): void;
  invalidateInode(nodeid: number, offset: number, length: number): void;
}

/** What {@link Connection.serve} and its halves found. */
export const SERVED = 1;
export const NOTHING = 0;
export const ENDED = -1;

const NAMED: ReadonlySet<number> = new Set([OPCODE.LOOKUP, OPCODE.UNLINK, OPCODE.RMDIR, OPCODE.REMOVEXATTR]);

/** The errno of a system call that failed, ours or Node's; undefined for any other error. */
export function systemErrno(error: unknown): number | undefined {
  if (error instanceof ErrnoError) return error.errno;
  if (!(error instanceof Error) || (error as NodeJS.ErrnoException).syscall === undefined) return undefined;
  const { errno: code } = error as NodeJS.ErrnoException;
  return code !== undefined && code < 0 ? -code : undefined;
}

/** One mounted file system: the device descriptor, what INIT negotiated, and the dispatch of requests. */
export class Connection implements KernelSide {
  readonly fd: number;
  readonly #fs: FileSystem;
  readonly #hooks: ConnectionHooks;
  #negotiated: Negotiated | undefined;
  #longSetxattr = false;
  #sparesNothing = false;
  /** Requests served by opcode number. */
  readonly counts = new Uint32Array(64);
  /** Lookups given out and taken back: the kernel holds the difference. */
  lookups = 0;
  forgotten = 0;

  /**
   * @param fd an open /dev/fuse, non-blocking, belonging to a mount; closed by {@link close}
   */
  constructor(fd: number, fs: FileSystem, hooks: ConnectionHooks = {}) {
    this.fd = fd;
    this.#fs = fs;
    this.#hooks = hooks;
  }

  /** Why INIT agreed on nothing, a sentence: the kernel is too old. */
  refusal: string | undefined;

  /** What INIT agreed on; undefined before. */
  get negotiated(): Negotiated | undefined {
    return this.#negotiated;
  }

  /** Whether a file's data may be served by the kernel out of another file. */
  get passthrough(): boolean {
    return this.#negotiated?.capabilities.has(INIT.PASSTHROUGH) ?? false;
  }

  /**
   * Registers an open file to be read (and written) by the kernel itself. Returns the backing id for `reply.open`.
   * Throws ErrnoError: EPERM without CAP_SYS_ADMIN, ELOOP when filesystems are stacked too deep.
   *
   * The kernel opens the file again by its path with the caller's flags: give it only descriptors from a mount
   * through which the file cannot be written.
   */
  openBacking(fd: number): number {
    const map = new Uint8Array(16);
    new DataView(map.buffer).setInt32(0, fd, true);
    return ioctl(this.fd, DEV_IOC.BACKING_OPEN, map);
  }

  /** Lets go of a backing id; opens that use it keep working. */
  closeBacking(id: number): void {
    ioctl(this.fd, DEV_IOC.BACKING_CLOSE, new Uint8Array(new Uint32Array([id]).buffer));
  }

  /**
   * Reads and answers one request, if there is one. Never throws: whatever a handler does, the request is answered.
   * @returns SERVED, NOTHING when no request waits, ENDED when the file system was unmounted
   */
  serve(request: Request, reply: Reply): number {
    const length = this.receive(request);
    return length > 0 ? this.answer(request, reply, length) : length;
  }

  /** Reads one request, if there is one, to be answered by {@link answer}. @returns its length in bytes, NOTHING or ENDED */
  receive(request: Request): number {
    const n = readRaw(this.fd, request.bytes, request.bytes.length);
    if (n > 0) return n;
    // ENOENT: the request was taken back while it was read. EINTR: a signal.
    if (n === -errno.EAGAIN || n === -errno.EINTR || n === -errno.ENOENT) return NOTHING;
    if (n < 0 && n !== -errno.ENODEV) this.#report(new ErrnoError(-n, 'read /dev/fuse'), 'READ_DEVICE');
    return ENDED;
  }

  /** Answers the request of `length` bytes that {@link receive} read. @returns SERVED or ENDED */
  answer(request: Request, reply: Reply, length: number): number {
    const started = this.#hooks.onRequest === undefined ? 0 : performance.now();
    this.dispatch(request, reply, length);
    if (!reply.silent) this.#send(reply);
    if (this.#hooks.onRequest !== undefined) this.#trace(request, reply, started);
    return request.opcode === OPCODE.DESTROY && request.length === length ? ENDED : SERVED;
  }

  /** Lets the file system do a little ahead. Never throws; when that went wrong once, it is not tried again. @returns whether there is more */
  spare(): boolean {
    if (this.#sparesNothing) return false;
    try {
      return this.#fs.spare?.() ?? false;
    } catch (error) {
      this.#sparesNothing = true;
      this.#report(error, 'SPARE');
      return false;
    }
  }

  /** Lets the file system give back what it held ready. Never throws. */
  rest(): void {
    try {
      this.#fs.rest?.();
    } catch (error) {
      this.#report(error, 'REST');
    }
  }

  /** Turns the `length` bytes in `request` into an answer in `reply`. Pure but for what the file system does. */
  dispatch(request: Request, reply: Reply, length: number): void {
    const sound = request.begin(length);
    request.longSetxattr = this.#longSetxattr;
    reply.begin(request.uniqueLow, request.uniqueHigh);
    if (!sound) {
      reply.none();
      this.#report(new ErrnoError(errno.EINVAL, 'fuse request header'), 'MALFORMED');
      return;
    }
    const { opcode } = request;
    if (opcode < 64) this.counts[opcode]++;
    const operation = operations[opcode];
    try {
      if (operation === undefined) this.#control(request, reply);
      else if (operation.silent === true) {
        reply.none();
        this.#forget(request, opcode);
        if (this.#fs.forget !== undefined) operation.handle(this.#fs as Required<FileSystem>, request, reply);
      } else if (this.#fs[operation.method] === undefined) reply.error(errno.ENOSYS);
      else if (request.bodyLength < operation.minimum) reply.error(errno.EINVAL);
      else operation.handle(this.#fs as Required<FileSystem>, request, reply);
    } catch (error) {
      if (error instanceof OldProtocol) this.refusal = error.message;
      const code = systemErrno(error);
      if (!reply.silent) reply.error(code ?? errno.EIO);
      if (code === undefined) this.#report(error, opcodeName(opcode));
    }
    if (!reply.answered) {
      reply.error(errno.EIO);
      this.#report(new Error('the handler returned without an answer'), opcodeName(opcode));
    }
    this.lookups += reply.lookups;
  }

  #control(request: Request, reply: Reply): void {
    switch (request.opcode) {
      case OPCODE.INIT: {
        const answer = answerInit(request, this.#fs.init);
        reply.body(answer.reply);
        if (answer.negotiated === undefined) break;
        this.#negotiated = answer.negotiated;
        this.#longSetxattr = answer.negotiated.capabilities.has(INIT.SETXATTR_EXT);
        this.#fs.ready?.(answer.negotiated);
        break;
      }
      case OPCODE.DESTROY:
        reply.ok();
        break;
      case OPCODE.INTERRUPT:
        reply.none();
        if (request.bodyLength >= 8) this.#fs.interrupt?.(request.u32(0), request.u32(4));
        break;
      case OPCODE.NOTIFY_REPLY:
        reply.none();
        break;
      default:
        reply.error(errno.ENOSYS);
    }
  }

  #forget(request: Request, opcode: number): void {
    if (opcode === OPCODE.FORGET) this.forgotten += request.u64(0);
    else {
      const count = Math.min(request.u32(0), Math.floor((request.bodyLength - 8) / 16));
      for (let i = 0; i < count; i++) this.forgotten += request.u64(16 + i * 16);
    }
  }

  #send(reply: Reply): void {
    const n = reply.sendTo(this.fd);
    // ENOENT: the caller was killed meanwhile. ENODEV, EBADF: unmounted while a deferred answer was on its way.
    if (n >= 0 || n === -errno.ENOENT || n === -errno.ENODEV || n === -errno.EBADF) return;
    this.#report(new ErrnoError(-n, 'write /dev/fuse'), 'REPLY');
    // The kernel did not like the answer, and its caller still waits.
    if (reply.errno === 0) {
      reply.error(errno.EIO);
      writeRaw(this.fd, reply.bytes, reply.length);
    }
  }

  /** Sends an answer that a handler deferred. */
  readonly sendDeferred = (reply: Reply): void => {
    this.lookups += reply.lookups;
    this.#send(reply);
  };

  #trace(request: Request, reply: Reply, started: number): void {
    this.#hooks.onRequest?.({
      opcode: opcodeName(request.opcode),
      nodeid: request.nodeid,
      name: NAMED.has(request.opcode) && request.bodyLength > 1 ? request.name(0) : undefined,
      micros: (performance.now() - started) * 1000,
      errno: reply.errno,
      bytes: reply.length,
    });
  }

  #report(error: unknown, opcode: string): void {
    this.#hooks.onError?.(error, opcode);
  }

  #notify(code: number, words: Uint32Array, name?: string): void {
    const text = name === undefined ? 0 : name.length + 1;
    const bytes = Buffer.alloc(OUT_HEADER_SIZE + words.byteLength + text);
    bytes.writeUInt32LE(bytes.length, 0);
    bytes.writeInt32LE(code, 4);
    Buffer.from(words.buffer).copy(bytes, OUT_HEADER_SIZE);
    if (name !== undefined) bytes.write(name, OUT_HEADER_SIZE + words.byteLength, 'latin1');
    const n = writeRaw(this.fd, bytes, bytes.length);
    // ENOENT: the kernel does not hold it, so there is nothing to drop.
    if (n < 0 && n !== -errno.ENOENT) throw new ErrnoError(-n, 'fuse notify');
  }

  /** Makes the kernel drop an inode's attributes and cached data from `offset` on (`length` 0: to the end). */
  invalidateInode(nodeid: number, offset = 0, length = 0): void {
    const words = new Uint32Array(6);
    putU64(words, 0, nodeid);
    putU64(words, 2, offset);
    putU64(words, 4, length);
    this.#notify(NOTIFY.INVAL_INODE, words);
  }

  /** Makes the kernel forget a name. Must not be called while a request on that folder is being served. */
  invalidateEntry(parent: number, name: string): void {
    const words = new Uint32Array(4);
    putU64(words, 0, parent);
    words[2] = name.length;
    this.#notify(NOTIFY.INVAL_ENTRY, words, name);
  }

  /** The file system is unmounted: tells it so and closes the device. */
  close(): void {
    try {
      this.#fs.destroy?.();
    } finally {
      close(this.fd);
    }
  }
}
