import { ErrnoError, errno } from '@layerfs/linux';
import { systemErrno, type ConnectionHooks } from '../../connection.js';
import type { Caller, FileSystem } from '../../filesystem.js';
import { Reply } from '../../wire/reply.js';

/** Largest READ or READDIR that is asked for, in bytes. */
export const LARGEST = 1 << 17;

type Methods = Omit<FileSystem, 'init' | 'ready' | 'destroy' | 'interrupt' | 'forget'>;

/**
 * Asks a file system in the kernel's stead: calls its methods and reads what they answer.
 * The binding does not say who asks, so it is always this process, which serves whoever mounted.
 */
export class Asker {
  readonly #fs: FileSystem;
  readonly #hooks: ConnectionHooks;
  readonly #waiting = new Map<number, (answer: Reply) => void>();
  readonly #reply = new Reply(LARGEST + 4096, (answer) => this.#answered(answer));
  #unique = 0;
  readonly #uid = process.geteuid?.() ?? 0;
  readonly #gid = process.getegid?.() ?? 0;

  constructor(fs: FileSystem, hooks: ConnectionHooks) {
    this.#fs = fs;
    this.#hooks = hooks;
  }

  /** Whether the file system has a method. */
  has(method: keyof Methods): boolean {
    return this.#fs[method] !== undefined;
  }

  /** Gives lookups of an inode back. */
  forget(nodeid: number, count: number): void {
    this.#fs.forget?.(nodeid, count);
  }

  /**
   * Asks one thing.
   * @param method what is asked; ENOSYS when the file system has no such method
   * @param question calls the method
   * @param read takes what is wanted out of the answer, which is overwritten by the next
   * @param name what is looked for, for traces
   * @throws ErrnoError, which the file system answered or threw
   */
  ask<T>(
    method: keyof Methods,
    nodeid: number,
    question: (fs: Required<Methods>, caller: Caller, reply: Reply) => void,
    read: (answer: Reply) => T,
    name?: string,
  ): Promise<T> {
    const started = this.#hooks.onRequest === undefined ? 0 : performance.now();
    const reply = this.#reply;
    const unique = (this.#unique = (this.#unique + 1) >>> 0);
    const caller = {
      uid: this.#uid,
      gid: this.#gid,
      pid: process.pid,
      nodeid,
      uniqueLow: unique,
      uniqueHigh: 0,
    };
    reply.begin(unique, 0);
    try {
      if (this.has(method)) question(this.#fs as Required<FileSystem>, caller, reply);
      else reply.error(errno.ENOSYS);
    } catch (error) {
      const code = systemErrno(error);
      if (!reply.silent) reply.error(code ?? errno.EIO);
      if (code === undefined) this.#hooks.onError?.(error, method.toUpperCase());
    }
    if (!reply.answered) {
      reply.error(errno.EIO);
      this.#hooks.onError?.(new Error('the handler returned without an answer'), method.toUpperCase());
    }
    this.#trace(method, nodeid, name, reply, started);
    return new Promise((resolve, reject) => {
      const settle = (answer: Reply): void => {
        if (answer.errno !== 0) return reject(new ErrnoError(answer.errno, method));
        try {
          resolve(read(answer));
        } catch (error) {
          reject(error);
        }
      };
      if (reply.silent) this.#waiting.set(unique, settle);
      else settle(reply);
    });
  }

  #answered(answer: Reply): void {
    this.#waiting.get(answer.uniqueLow)?.(answer);
    this.#waiting.delete(answer.uniqueLow);
  }

  #trace(method: string, nodeid: number, name: string | undefined, reply: Reply, started: number): void {
    this.#hooks.onRequest?.({
      opcode: method.toUpperCase(),
      nodeid,
      name,
      micros: (performance.now() - started) * 1000,
      errno: reply.errno,
      bytes: reply.length,
    });
  }
}
