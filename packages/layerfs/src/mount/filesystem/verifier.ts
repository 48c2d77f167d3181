/**
 * Verification on opening: an object's sha256 is checked the first time that it is opened in a mount, and again only when
 * its inode, size or times have changed since. What takes long is hashed in another thread, while others are served.
 */
import { createHash } from 'node:crypto';
import { closeSync, readSync, writeSync } from 'node:fs';
import { MessageChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { AT, eventfd, readRaw, statx } from '@layerfs/linux';
import { NativeThread } from '@layerfs/linux/thread';

/** Up to so many bytes an object is hashed at once: it takes a millisecond or two. */
const SMALL = 512 * 1024;

/** What the thread is asked, and what it answers: `hex` is the sha256 found, or undefined when the file cannot be read. */
export interface HashRequest {
  readonly path: string;
  readonly id: number;
}
export interface HashReply {
  readonly id: number;
  readonly hex: string | undefined;
  /** Of the file that was hashed, before and after: they differ when it was changed meanwhile. */
  readonly before: string;
  readonly after: string;
}

/** What the thread gets. */
export interface VerifierThread {
  readonly port: MessagePort;
  /** An eventfd to wake the serving loop. */
  readonly wake: number;
}

/** What was found of one state of an object's file. */
interface Verdict {
  readonly signature: string;
  /** The sha256 of its content; undefined when it cannot be read. */
  readonly hex: string | undefined;
}

interface Waiting {
  readonly digest: string;
  readonly done: (() => void)[];
}

/** One mount's knowledge of which objects are sound. To be used in the serving thread only. */
export class Verifier {
  /** An eventfd, readable when {@link resume} has something to do: a wake descriptor of the loop. */
  readonly wake: number;
  readonly #objects: string;
  readonly #verdicts = new Map<string, Verdict>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #ids = new Map<string, number>();
  #port: MessagePort | undefined;
  #hashing: NativeThread | undefined;
  #closed = false;
  #next = 1;

  /** @param objects path of the objects folder */
  constructor(objects: string) {
    this.#objects = objects;
    this.wake = eventfd();
  }

  /**
   * The sha256 of an open object's content; hashed now, however long that takes, unless it is known of this state of the file.
   * @param digest what it should be, 64 hex digits
   */
  digestOf(digest: string, fd: number): string | undefined {
    const signature = signatureOf(fd);
    const known = this.#verdicts.get(digest);
    if (known?.signature === signature) return known.hex;
    const hex = hashDescriptor(fd);
    this.#verdicts.set(digest, { signature, hex });
    return hex;
  }

  /**
   * Begins to hash an object that is not known and takes long.
   * @param done called in the serving thread, by {@link resume}
   * @returns false when there is nothing to wait for
   */
  begin(digest: string, size: number, fd: number, done: () => void): boolean {
    if (size <= SMALL || this.#verdicts.get(digest)?.signature === signatureOf(fd)) return false;
    const known = this.#ids.get(digest);
    const waiting = known === undefined ? undefined : this.#waiting.get(known);
    if (waiting !== undefined) {
      waiting.done.push(done);
      return true;
    }
    const id = this.#next++;
    this.#ids.set(digest, id);
    this.#waiting.set(id, { digest, done: [done] });
    const path = `${this.#objects}/${digest.slice(0, 2)}/${digest.slice(2)}`;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
    this.#thread().postMessage({ path, id } satisfies HashRequest);
    return true;
  }

  /** Takes in what the other thread has found. @returns whether there was anything */
  resume(): boolean {
    const counter = new Uint8Array(8);
    if (readRaw(this.wake, counter, 8) <= 0 || this.#port === undefined) return false;
    for (let next = receiveMessageOnPort(this.#port); next !== undefined; next = receiveMessageOnPort(this.#port)) {
      this.#finish(next.message as HashReply);
    }
    return true;
  }

  #finish({ id, hex, before, after }: HashReply): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    this.#ids.delete(waiting.digest);
    // One that changes all the time is hashed again by whoever opens it.
    if (before === after) this.#verdicts.set(waiting.digest, { signature: before, hex });
    for (const done of waiting.done) done();
  }

  #thread(): MessagePort {
    if (this.#port !== undefined) return this.#port;
    const { port1, port2 } = new MessageChannel();
    const data: VerifierThread = { port: port2, wake: this.wake };
    this.#hashing = new NativeThread(new URL('verifier-thread.js', import.meta.url), data, {
      transferList: [port2],
      trackUnmanagedFds: false,
    });
    void this.#died(this.#hashing);
    // A server may end without having closed this.
    this.#hashing.worker.unref();
    port1.unref();
    return (this.#port = port1);
  }

  /** Who waits for a thread that failed is not left waiting: what is not known is hashed at once. Another thread may be started. */
  async #died(thread: NativeThread): Promise<void> {
    await thread.ended;
    if (this.#hashing !== thread || this.#closed) return;
    this.#port?.close();
    this.#port = this.#hashing = undefined;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#ids.clear();
    for (const { done } of waiting) for (const each of done) each();
  }

  /** The mount has ended. Whoever waits is not answered any more: the kernel has let go of them. */
  close(): void {
    this.#closed = true;
    this.#port?.close();
    const { wake } = this;
    if (this.#hashing === undefined) return closeSync(wake);
    // What the thread writes to must not be another file by then.
    this.#hashing.worker.ref();
    void this.#hashing.end().then(() => closeSync(wake));
  }
}

/** What changes when a file does. */
export function signatureOf(fd: number): string {
  const { devMajor, devMinor, ino, size, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec } = statx(fd, '', AT.EMPTY_PATH);
  return [devMajor, devMinor, ino, size, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec].join(' ');
}

const CHUNK = 1 << 20;
let scratch: Buffer | undefined;

/**
 * The sha256 of an open file, 64 hex digits; undefined when the disk does not give it.
 * @param goOn whether it is still wanted; otherwise undefined
 */
export function hashDescriptor(fd: number, goOn = (): boolean => true): string | undefined {
  const buffer = (scratch ??= Buffer.allocUnsafe(CHUNK));
  const hash = createHash('sha256');
  try {
    for (let at = 0; goOn();) {
      const n = readSync(fd, buffer, 0, CHUNK, at);
      if (n === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, n));
      at += n;
    }
    return undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    return undefined;
  }
}

/** Wakes a loop that waits for this eventfd. */
export function wakeUp(fd: number): void {
  writeSync(fd, new Uint8Array(new BigUint64Array([1n]).buffer));
}
