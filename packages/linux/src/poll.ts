import { lastErrno, native, check } from './library.js';

const pollFunction = native('int poll(void *fds, unsigned long count, int timeout)');
const eventfdFunction = native('int eventfd(unsigned int initial, int flags)');

/** Event bits of poll(2). */
export const POLL = { IN: 1, OUT: 4, ERR: 8, HUP: 16, NVAL: 32 } as const;

/** A set of descriptors to wait on, kept in one piece of memory so that waiting allocates nothing. */
export class PollSet {
  #entries: Int32Array;
  #bytes: Uint8Array;
  #count = 0;

  constructor() {
    this.#entries = new Int32Array(16);
    this.#bytes = new Uint8Array(this.#entries.buffer);
  }

  /** How many descriptors are watched. */
  get size(): number {
    return this.#count;
  }

  /** Watches `fd` for {@link POLL} bits. Returns its index, valid until a `remove`. */
  add(fd: number, events: number = POLL.IN): number {
    if (this.#count * 2 === this.#entries.length) {
      const grown = new Int32Array(this.#entries.length * 2);
      grown.set(this.#entries);
      this.#entries = grown;
      this.#bytes = new Uint8Array(grown.buffer);
    }
    this.#entries[this.#count * 2] = fd;
    this.#entries[this.#count * 2 + 1] = events;
    return this.#count++;
  }

  /** Stops watching `fd`; the last one takes its index. */
  remove(fd: number): void {
    for (let i = 0; i < this.#count; i++) {
      if (this.#entries[i * 2] !== fd) continue;
      const last = --this.#count;
      this.#entries[i * 2] = this.#entries[last * 2]!;
      this.#entries[i * 2 + 1] = this.#entries[last * 2 + 1]!;
      return;
    }
  }

  /** The descriptor at an index. */
  fd(index: number): number {
    return this.#entries[index * 2];
  }

  /** What happened at an index in the last {@link wait}: POLL bits, 0 for nothing. */
  ready(index: number): number {
    return this.#entries[index * 2 + 1] >>> 16;
  }

  /** Waits at most `timeout` milliseconds (-1: without limit). Returns how many are ready, or minus errno. Blocks the thread. */
  wait(timeout: number): number {
    const n = pollFunction(this.#bytes, this.#count, timeout);
    return n < 0 ? -lastErrno() : n;
  }
}

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/** eventfd(2), non-blocking, close-on-exec: something another thread can write to (8 bytes) to end a wait. */
export function eventfd(): number {
  return check(eventfdFunction(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd');
}
