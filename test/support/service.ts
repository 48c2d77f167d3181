/** The snapshotter service, as containerd's users start it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { MNT, umount2 } from '@layerfs/linux';
import { CLI } from './cli.js';

/** A running `layerfs snapshotter serve`. */
export class Service {
  readonly root: string;
  readonly socket: string;
  readonly #options: readonly string[];
  readonly #through: readonly string[];
  #process: ChildProcess | undefined;
  #log = '';

  /**
   * @param socket a short path
   * @param options more of the command line
   * @param through a program that runs it, with its options
   */
  constructor(root: string, socket: string, options: readonly string[] = [], through: readonly string[] = []) {
    this.#through = through;
    this.root = root;
    this.socket = socket;
    this.#options = options;
  }

  /** Its process. */
  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** JSON lines. */
  get log(): string {
    return this.#log;
  }

  /** Starts it, and waits until it answers. */
  async start(): Promise<void> {
    const where = ['--root', this.root, '--socket', this.socket];
    const words = [process.execPath, CLI, 'snapshotter', 'serve', ...where, ...this.#options];
    const [program, ...rest] = [...this.#through, ...words];
    const child = spawn(program, rest, {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
    for (let tries = 0; tries < 600; tries++) {
      if (child.exitCode !== null) throw new Error(`the service ended: ${this.#log}`);
      if (await connects(this.socket)) return;
      await sleep(50);
    }
    throw new Error(`no service after 30 seconds: ${this.#log}`);
  }

  /** Takes away what it leaves mounted, so that containers can start while it does not run. */
  unmount(): void {
    for (const line of readFileSync('/proc/self/mounts', 'latin1').split('\n')) {
      const folder = line.split(' ')[1] ?? '';
      if (folder.startsWith(`${this.root}/snapshotter/`)) umount2(folder, MNT.DETACH);
    }
  }

  /** Ends it. @returns its exit code, or the signal that ended it */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals | null> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return null;
    const ended = new Promise<number | NodeJS.Signals | null>((done) => {
      child.once('exit', (code, by) => done(by ?? code));
    });
    child.kill(signal);
    return ended;
  }
}

/** Whether a unix socket takes connections. */
export function connects(socket: string): Promise<boolean> {
  return new Promise((done) => {
    const client = connect(socket, () => {
      client.destroy();
      done(true);
    });
    client.once('error', () => done(false));
  });
}
