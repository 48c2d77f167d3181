import { availableParallelism } from 'node:os';
import { ErrnoError, PollSet, errno, runnableTasks } from '@layerfs/linux';
import { ENDED, NOTHING, SERVED, type Connection } from './connection.js';
import { AnswerPipe } from './wire/answer-pipe.js';
import { Reply } from './wire/reply.js';
import { Request } from './wire/request.js';

/**
 * Why {@link Loop.run} returned: a wake descriptor is readable, an answer was postponed (promises that it waits for only go
 * on once the thread is given back), nothing happened for a while, nothing is left to serve.
 */
export type LoopResult = 'woken' | 'deferred' | 'idle' | 'empty';

const MAX_REQUEST = (1 << 20) + 8192;
/** How often a spinning loop looks before it sleeps: about 100 microseconds. */
const SPINS = 200;
/** A sleep shorter than this would have been worth spinning for, in milliseconds. */
const SHORT_SLEEP = 0.15;
/** Whoever got so many bytes needs a processor for them: only one that nobody else needs is spent on looking for the next request. */
const LARGE_ANSWER = 64 << 10;
/** How often it is looked then, at most. */
const SPINS_AFTER_LARGE = 40;
/** After how many large answers it is looked at again whether there are processors to spare: that costs some microseconds. */
const CROWD_CHECK = 32;
/** How many requests of one connection are served before the others get their turn. */
const BATCH = 128;
/** After how many rounds without a sleep the wake descriptors are looked at. */
const WAKE_CHECK = 64;
/** After how many steps that were done ahead, too: one may wait for the disk. */
const SPARE_CHECK = 16;
const MAX_PAYOFF = 8;

/**
 * Serves any number of connections in the calling thread. After each request it looks for the next one for a short
 * while without sleeping, because waking up costs several times what a request does; it stops doing so when that
 * does not pay, and never spins without a request before.
 */
export class Loop {
  readonly #request = new Request(Buffer.from(new ArrayBuffer(MAX_REQUEST)));
  readonly #replies = new Map<Connection, Reply>();
  readonly #connections: Connection[] = [];
  readonly #poll = new PollSet();
  readonly #pipe = new AnswerPipe();
  readonly #wake: readonly number[];
  readonly #spins: number;
  readonly #onEnd: (connection: Connection) => void;
  /** 0 to 8: how well spinning paid lately. */
  #payoff = 4;
  #deferred = false;
  /** Whether a connection used up its batch in the last round: it may have more requests. */
  #more = false;
  /** Whether the last answer was large. */
  #large = false;
  /** What {@link #look} got from the only connection: the length of a request that is still to be answered, or ENDED. */
  #received = NOTHING;
  /** Large answers after which the loop would have spun. */
  #afterLarge = 0;
  #crowded = false;

  /**
   * @param options.wake descriptors that end {@link run} when they become readable
   * @param options.spins how often to look before sleeping; 0 turns spinning off
   * @param options.onEnd called when a connection's file system was unmounted, after it was closed
   */
  constructor(
    options: {
      readonly wake?: readonly number[];
      readonly spins?: number;
      readonly onEnd?: (connection: Connection) => void;
    } = {},
  ) {
    this.#wake = options.wake ?? [];
    // Alone on its core the server would only keep its client from running.
    this.#spins = options.spins ?? (availableParallelism() > 1 ? SPINS : 0);
    this.#onEnd = options.onEnd ?? (() => undefined);
    for (const fd of this.#wake) this.#poll.add(fd);
  }

  /** How many connections are served. */
  get size(): number {
    return this.#connections.length;
  }

  /** Starts serving a connection at the next {@link run}. */
  add(connection: Connection): void {
    this.#connections.push(connection);
    this.#replies.set(connection, new Reply(MAX_REQUEST, connection.sendDeferred, undefined, this.#pipe));
    this.#poll.add(connection.fd);
  }

  #remove(connection: Connection): void {
    this.#connections.splice(this.#connections.indexOf(connection), 1);
    this.#replies.delete(connection);
    this.#poll.remove(connection.fd);
    connection.close();
    if (this.#connections.length === 0) this.#pipe.close();
    this.#onEnd(connection);
  }

  /** Serves what waits, at most BATCH requests a connection. @returns whether there was any */
  #serveAll(): boolean {
    let any = false;
    this.#more = false;
    for (let i = this.#connections.length - 1; i >= 0; i--) {
      const connection = this.#connections[i];
      const reply = this.#replies.get(connection);
      if (reply === undefined) continue;
      for (let n = 0; n < BATCH; n++) {
        const { deferrals } = reply;
        const length = this.#received === NOTHING ? connection.receive(this.#request) : this.#received;
        this.#received = NOTHING;
        const result = length > 0 ? connection.answer(this.#request, reply, length) : length;
        if (reply.deferrals !== deferrals) this.#deferred = true;
        if (result === SERVED) {
          any = true;
          this.#large = reply.length >= LARGE_ANSWER;
          this.#more ||= n === BATCH - 1;
        } else {
          if (result === ENDED) this.#remove(connection);
          break;
        }
      }
    }
    return any;
  }

  /** @returns whether there is more to be done while no request waits */
  #spare(): boolean {
    let more = false;
    for (let i = 0; i < this.#connections.length; i++) if (this.#connections[i].spare()) more = true;
    return more;
  }

  #awake(): boolean {
    for (let i = 0; i < this.#wake.length; i++) if (this.#poll.ready(i) !== 0) return true;
    return false;
  }

  /** Looks for a request for a short while; of several connections also for somebody who wakes the loop. @returns whether there is one */
  #spin(): boolean {
    if (this.#payoff === 0) return false;
    if (this.#large) {
      if (this.#afterLarge++ % CROWD_CHECK === 0) this.#crowded = runnableTasks() > availableParallelism();
      if (this.#crowded) return false;
    }
    const looks = this.#large ? Math.min(this.#spins, SPINS_AFTER_LARGE) : this.#spins;
    const found = this.#connections.length === 1 ? this.#look(this.#connections[0], looks) : this.#lookAtAll(looks);
    this.#payoff = found ? Math.min(MAX_PAYOFF, this.#payoff + 1) : this.#payoff - 1;
    return found;
  }

  // V8 compiles what spins: were it a part of run(), all that would be compiled with it, which keeps a processor busy for longer than is saved.
  #look(connection: Connection, times: number): boolean {
    for (let i = 0; i < times; i++) {
      this.#received = connection.receive(this.#request);
      if (this.#received !== NOTHING) return true;
    }
    return false;
  }

  /** With several connections one poll is cheaper than a read of each. */
  #lookAtAll(times: number): boolean {
    for (let i = 0; i < times; i++) if (this.#poll.wait(0) !== 0) return true;
    return false;
  }

  /**
   * Serves until there is a reason to return; may be called again. Blocks its thread.
   * @param idleMillis return 'idle' after so long without a request; -1: never
   */
  run(idleMillis = -1): LoopResult {
    let served = 0;
    let spared = 0;
    while (this.#connections.length > 0) {
      if (this.#serveAll()) {
        if (this.#deferred) {
          this.#deferred = false;
          return 'deferred';
        }
        if (++served % WAKE_CHECK === 0 && this.#poll.wait(0) > 0 && this.#awake()) return 'woken';
        if (this.#more) continue;
      }
      // The last one was unmounted: there is nothing to wait for.
      if (this.#connections.length === 0) break;
      if (this.#spare()) {
        if (++spared % SPARE_CHECK === 0 && this.#poll.wait(0) > 0 && this.#awake()) return 'woken';
        continue;
      }
      if (served > 0 && this.#spin()) {
        if (this.#received === NOTHING && this.#awake()) return 'woken';
        continue;
      }
      served = 0;
      const before = performance.now();
      const ready = this.#poll.wait(idleMillis);
      if (ready === 0) {
        // Many mounts are idle most of the time, and one user's pipes are counted.
        this.#pipe.close();
        for (const connection of this.#connections) connection.rest();
        return 'idle';
      }
      if (ready < 0 && ready !== -errno.EINTR) throw new ErrnoError(-ready, 'poll');
      if (ready > 0 && this.#awake()) return 'woken';
      if (performance.now() - before < SHORT_SLEEP) this.#payoff = Math.min(MAX_PAYOFF, this.#payoff + 2);
    }
    return 'empty';
  }
}
