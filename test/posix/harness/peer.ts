/** Other processes, for what needs two: locks, concurrent writes. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ErrnoError } from '@layerfs/linux';

const AGENT = fileURLToPath(new URL('agent.mjs', import.meta.url));

/** The functions of agent.mjs. */
type FunctionName =
  | 'appendLines'
  | 'chdir'
  | 'close'
  | 'exchangeOften'
  | 'fcntl'
  | 'flock'
  | 'listOften'
  | 'open'
  | 'pid'
  | 'pread'
  | 'readOften'
  | 'replaceOften'
  | 'reset'
  | 'size'
  | 'tryEach'
  | 'unlink'
  | 'writeBlocks'
  | 'writeByteOfEach';
type Reply = { readonly value: unknown } | { readonly errno: number } | { readonly error: string };

export class Peer {
  readonly #child: ChildProcess;
  readonly #replies: ((reply: Reply) => void)[] = [];

  constructor() {
    this.#child = fork(AGENT, { serialization: 'advanced' });
    this.#child.on('message', (reply: Reply) => this.#replies.shift()?.(reply));
    this.#child.once('exit', (code, signal) => {
      for (const resolve of this.#replies) resolve({ error: `the peer ended with ${String(code ?? signal)}` });
    });
  }

  /** Has the process call a function; throws what it throws. */
  async call(name: FunctionName, ...args: unknown[]): Promise<unknown> {
    const reply = await new Promise<Reply>((resolve) => {
      this.#replies.push(resolve);
      this.#child.send({ name, args });
    });
    if ('value' in reply) return reply.value;
    if ('errno' in reply) throw new ErrnoError(reply.errno, name);
    throw new Error(reply.error);
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Kills the process and waits until it is gone. */
  async end(): Promise<void> {
    if (this.ended) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }
}

/** Processes that have no files open, kept as starting one takes long. */
const idle: Peer[] = [];

/** Runs something with `count` processes in the current folder. */
export async function withPeers(count: number, run: (...peers: Peer[]) => Promise<void>): Promise<void> {
  const peers = Array.from({ length: count }, () => idle.pop() ?? new Peer());
  try {
    for (const peer of peers) await peer.call('chdir', process.cwd());
    await run(...peers);
    for (const peer of peers.splice(0)) {
      if (peer.ended) continue;
      await peer.call('reset');
      idle.push(peer);
    }
  } finally {
    // After a failure one may still wait for a lock.
    await Promise.all(peers.map((peer) => peer.end()));
  }
}

export async function endPeers(): Promise<void> {
  await Promise.all(idle.splice(0).map((peer) => peer.end()));
}

/** Whether something has not come about after a moment in which it would have. */
export async function stillPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  return (await Promise.race([promise, sleep(60, pending)])) === pending;
}
