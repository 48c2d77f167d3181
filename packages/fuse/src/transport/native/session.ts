import { constants } from 'node:os';
import { ErrnoError, errno, errnoCode } from '@layerfs/linux';
import { systemErrno, type ConnectionHooks } from '../../connection.js';
import type { FileSystem } from '../../filesystem.js';
import { Asker } from './asker.js';
import { openOf } from './answer.js';
import { isLost } from './names.js';
import { Nodes } from './nodes.js';

/** Gets an operation's result: 0 or a count, or minus errno; then what it gives. */
export type Done = (result: number, ...values: unknown[]) => void;

/** One open file. */
export interface Handle {
  /** Held while it is open. */
  readonly nodeid: number;
  readonly fh: number;
  /** The file system wants to hear of its end. */
  readonly opened: boolean;
}

const HANDLE_LIMIT = 2 ** 31;

/** What the operations of one mount share: the file system, its inodes by path, and what is open. */
export class Session {
  readonly asker: Asker;
  readonly nodes: Nodes;
  readonly #hooks: ConnectionHooks;
  readonly #handles = new Map<number, Handle>();
  #last = 0;

  constructor(fs: FileSystem, hooks: ConnectionHooks) {
    this.#hooks = hooks;
    this.asker = new Asker(fs, hooks);
    this.nodes = new Nodes(this.asker);
  }

  /** Answers an operation when its work is done, whatever comes of it: an exception here would end the process. */
  answer(operation: string, done: Done, work: () => Promise<readonly unknown[]>): void {
    this.count(
      operation,
      (result, values) => done(result, ...(values ?? [])),
      async () => ({ values: await work() }),
    );
  }

  /** As {@link answer}, for operations whose result is a count. */
  count(
    operation: string,
    done: (result: number, values?: readonly unknown[]) => void,
    work: () => Promise<{ readonly count?: number; readonly values?: readonly unknown[] }>,
  ): void {
    void this.#finish(operation, done, work);
  }

  async #finish(
    operation: string,
    done: (result: number, values?: readonly unknown[]) => void,
    work: () => Promise<{ readonly count?: number; readonly values?: readonly unknown[] }>,
  ): Promise<void> {
    let outcome: { readonly count?: number; readonly values?: readonly unknown[] };
    try {
      outcome = await work();
    } catch (error) {
      const code = systemErrno(error);
      if (code === undefined) this.#hooks.onError?.(error, operation.toUpperCase());
      outcome = { count: -platformErrno(code ?? errno.EIO) };
    }
    done(outcome.count ?? 0, outcome.values);
  }

  /** Opens a file: libfuse gets a number of ours, never 0, which the binding would drop. */
  async open(nodeid: number, flags: number): Promise<number> {
    const opened = await this.#ask(nodeid, flags);
    this.nodes.hold(nodeid);
    return this.keep({ nodeid, ...opened });
  }

  async #ask(nodeid: number, flags: number): Promise<{ readonly fh: number; readonly opened: boolean }> {
    try {
      const fh = await this.asker.ask(
        'open',
        nodeid,
        (fs, caller, reply) => fs.open(caller, flags, false, reply),
        openOf,
      );
      return { fh, opened: true };
    } catch (error) {
      // "Open without asking", as the kernel understands it.
      if (error instanceof ErrnoError && error.errno === errno.ENOSYS) return { fh: 0, opened: false };
      throw error;
    }
  }

  /** Gives a handle, whose inode is held, a number. */
  keep(handle: Handle): number {
    do this.#last = (this.#last % (HANDLE_LIMIT - 1)) + 1;
    while (this.#handles.has(this.#last));
    this.#handles.set(this.#last, handle);
    return this.#last;
  }

  /** @throws ErrnoError EBADF */
  handle(number: number): Handle {
    const found = this.#handles.get(number);
    if (found === undefined) throw new ErrnoError(errno.EBADF, 'handle');
    return found;
  }

  /** As {@link handle}; undefined when there is none of that number. */
  known(number: number): Handle | undefined {
    return this.#handles.get(number);
  }

  async release(number: number): Promise<void> {
    const { nodeid, fh, opened } = this.handle(number);
    this.#handles.delete(number);
    try {
      if (opened && this.asker.has('release')) {
        await this.asker.ask('release', nodeid, (fs, caller, reply) => fs.release(caller, fh, 0, reply), nothing);
      }
    } finally {
      this.nodes.letGo(nodeid);
    }
  }
}

/** Of an answer that says only that it is done. */
export function nothing(): readonly unknown[] {
  return [];
}

/** @throws ErrnoError EILSEQ for a name to be made of which the binding has lost bytes */
export function checkNew(...texts: string[]): void {
  if (texts.some(isLost)) throw new ErrnoError(errno.EILSEQ, 'name');
}

/** Linux's number as this platform has it: macOS counts otherwise, and has ENOATTR (93) where Linux has ENODATA. */
function platformErrno(code: number): number {
  if (process.platform === 'linux') return code;
  const name = errnoCode(code);
  if (name === 'ENODATA') return 93;
  return (constants.errno as Record<string, number | undefined>)[name] ?? constants.errno.EIO;
}
