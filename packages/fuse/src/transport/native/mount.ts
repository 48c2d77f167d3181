import { readdirSync, readlinkSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { POLL, PollSet, close } from '@layerfs/linux';
import type { ConnectionHooks } from '../../connection.js';
import type { FileSystem } from '../../filesystem.js';
import { MountError } from '../error.js';
import { checkMountpoint, openDevice } from '../kernel.js';
import type { MountOptions } from '../options.js';
import { loadFuseNative, type FuseNative, type NativeHandler, type Signal } from './binding.js';
import { changingOperations } from './changing.js';
import { LARGEST } from './asker.js';
import { readingOperations } from './reading.js';
import { Session } from './session.js';

export { loadFuseNative };

/** A mount that libfuse serves from threads of its own, asking this process's main thread. */
export interface NativeMount {
  /** Settles when it has ended, whoever unmounted it. Until then the process is kept alive. */
  readonly finished: Promise<void>;
}

/** Where the binding has utimens in its table, and the two times in the C struct of an operation (size_t, milliseconds). */
const OP_UTIMENS = 12;
const ATIME_AT = process.platform === 'darwin' ? 96 : 104;
/** The binding copies both into 1024 bytes, without a word when they are longer. */
const WORDS_LIMIT = 1023;
/** How often the end of the mount is looked for, in milliseconds. */
const END_CHECK = 100;
/** What nobody but us changes may be trusted for good, in seconds. */
const FOR_GOOD = 10 * 365 * 86_400;

/**
 * Mounts through libfuse 2, by the npm package `fuse-native`. Must be called in the main thread of a process, whose event loop then
 * serves; that process must not use the mount itself.
 * Throws MountError: what {@link mountKernel} throws, `no-binding`, and `helper-failed` (libfuse says why on standard error).
 */
export async function mountNative(
  options: MountOptions,
  fs: FileSystem,
  hooks: ConnectionHooks = {},
): Promise<NativeMount> {
  checkMountpoint(options.mountpoint);
  if (process.platform === 'linux') close(openDevice());
  const Binding = loadFuseNative();
  const words = wordsOf(options);
  const session = new Session(fs, hooks);
  fs.ready?.({ minor: 19, capabilities: new Set(), offered: new Set(), maxWrite: LARGEST });
  const reading = readingOperations(session);
  const operations = { ...reading, ...changingOperations(session) };

  // These say what the class itself would lose: sizes of buffers, handles, the second time.
  class Mount extends Binding {
    override _fuseOptions(): string {
      return words;
    }

    override _makeHandlerArray(): (NativeHandler | undefined)[] {
      const handlers = super._makeHandlerArray();
      const utimens = handlers[OP_UTIMENS];
      if (utimens !== undefined) handlers[OP_UTIMENS] = withSecondTime(utimens);
      return handlers;
    }

    _op_fgetattr(signal: Signal, path: string, number: number): void {
      operations.fgetattr(path, number, (result, stat) => {
        // The class turns a stat into what the binding takes only in its own method.
        this._op_getattr.call({ ops: { getattr: (_: string, done: Signal) => done(result, stat) } }, signal, path);
      });
    }

    _op_getxattr(signal: Signal, path: string, name: string, buffer: Buffer): void {
      operations.getxattr(path, name, buffer, (result) => signal(result, buffer.buffer));
    }

    _op_listxattr(signal: Signal, path: string, buffer: Buffer): void {
      operations.listxattr(path, buffer, (result) => signal(result, buffer.buffer));
    }
  }

  const before = fuseDescriptors();
  const mount: FuseNative = new Mount(options.mountpoint, operations, { timeout: false });
  await new Promise<void>((resolve, reject) => {
    mount.mount((error) => (error === null ? resolve() : reject(refused(options, error))));
  });
  const device = fuseDescriptors().find((fd) => !before.includes(fd));
  const finished = untilEnd(device, options.mountpoint).then(() => fs.destroy?.());
  return { finished };
}

function refused({ mountpoint }: MountOptions, error: Error): MountError {
  const why = error.message === 'fuse failed' ? 'libfuse could not mount' : `fuse-native: ${error.message}`;
  return new MountError('helper-failed', `${why} on ${mountpoint}`, error);
}

/** What libfuse is told, as on its command line. */
function wordsOf(options: MountOptions): string {
  const own = options.readOnly === true;
  const words = [
    `fsname=${options.fsname.replace(/([,\\])/g, '\\$1')}`,
    `subtype=${options.subtype}`,
    'use_ino',
    'big_writes',
    // Each name of a file is an inode of its own to libfuse: what is done by one has to be asked for by the other.
    `attr_timeout=${own ? FOR_GOOD : 0}`,
    `entry_timeout=${FOR_GOOD}`,
    ...(own ? ['ro', 'kernel_cache'] : []),
    ...(options.allowOther === true ? ['allow_other'] : []),
    ...(options.defaultPermissions === true ? ['default_permissions'] : []),
  ];
  // Others get nosuid and nodev from fusermount, which takes no word about it.
  if (process.geteuid?.() === 0) {
    words.push(options.noSetuid === true ? 'nosuid' : 'suid', options.noDevices === true ? 'nodev' : 'dev', 'nonempty');
  }
  if (options.noExec === true) words.push('noexec');
  if (options.noAtime === true) words.push('noatime');
  const line = `-o${words.join(',')}`;
  if (Buffer.byteLength(line) > WORDS_LIMIT || Buffer.byteLength(options.mountpoint) > WORDS_LIMIT) {
    throw new MountError('helper-failed', `fuse-native takes no path or name of more than ${WORDS_LIMIT} bytes`);
  }
  return line;
}

/**
 * The binding (2.2.6) gives the time of access twice; the other lies behind it in the operation's own memory. Where
 * that is not laid out as known, nothing is read.
 */
function withSecondTime(utimens: NativeHandler): NativeHandler {
  return (state, opcode, path, low, high) => {
    const given = BigInt(low as number) | (BigInt(high as number) << 32n);
    const known = state.length >= ATIME_AT + 16 && state.readBigUInt64LE(ATIME_AT) === given;
    const atime = Number(BigInt.asIntN(64, given));
    const mtime = known ? Number(state.readBigInt64LE(ATIME_AT + 8)) : atime;
    // The class adds halves up: nothing is to be added.
    utimens(state, opcode, path, atime, 0, mtime, 0);
  };
}

/** Descriptors of /dev/fuse in this process; none where that cannot be looked up. */
function fuseDescriptors(): number[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc/self/fd').map(Number).filter(isDevice);
}

function isDevice(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch (error) {
    // The descriptor by which the folder was read, which is closed by now.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** The binding does not say when libfuse's loop has ended: the device says when the kernel has let go of it. */
async function untilEnd(device: number | undefined, mountpoint: string): Promise<void> {
  const poll = new PollSet();
  if (device !== undefined) poll.add(device, 0);
  const gone = POLL.ERR | POLL.HUP | POLL.NVAL;
  for (;;) {
    await setTimeout(END_CHECK);
    if (device === undefined) {
      // Never in this thread's own time: it is we who answer.
      const [root, above] = await Promise.all([stat(mountpoint), stat(join(mountpoint, '..'))]);
      if (root.dev === above.dev) return;
    } else if (!isDevice(device) || (poll.wait(0) > 0 && (poll.ready(0) & gone) !== 0)) return;
  }
}
