/** Makes a recording: a store in a folder that a recorder serves, and the scenario done to it by another process. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sh, umount } from '../../support/union-place.js';

/** What was built of this folder: processes of their own need JavaScript. */
export const built = (path: string): string => fileURLToPath(new URL(`../../dist/crash/${path}`, import.meta.url));

/** A folder that is recorded. */
export class Recording {
  readonly mountpoint: string;
  readonly log: string;
  readonly #server: ChildProcess;

  private constructor(server: ChildProcess, mountpoint: string, log: string) {
    this.#server = server;
    this.mountpoint = mountpoint;
    this.log = log;
  }

  /** @param folder new; holds what lies below, the mountpoint and the log */
  static async start(folder: string): Promise<Recording> {
    const [below, mountpoint, log] = ['below', 'mnt', 'log'].map((name) => join(folder, name));
    for (const path of [folder, below, mountpoint]) mkdirSync(path);
    const server = spawn(process.execPath, [built('record/main.js'), below, mountpoint, log], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said] = (await Promise.race([once(server.stdout, 'data'), once(server, 'exit')])) as [unknown];
    if (!(said instanceof Uint8Array)) throw new Error(`the recorder ended with ${String(said)}`);
    return new Recording(server, mountpoint, log);
  }

  /** Runs a program of this folder's, whose syncfs(2) the recorder hears of. @returns what it printed */
  async run(program: string, ...args: string[]): Promise<string> {
    const child = spawn(process.execPath, ['--import', built('record/hooks.js'), built(program), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    if (code !== 0) throw new Error(`${program} ended with ${code ?? signal}: ${errors}`);
    return out;
  }

  async end(): Promise<void> {
    const ended = this.#server.exitCode === null ? once(this.#server, 'exit') : Promise.resolve();
    if (process.getuid?.() === 0) await umount(this.mountpoint);
    else await sh('fusermount3 -u "$1"', [this.mountpoint]);
    await ended;
  }
}
