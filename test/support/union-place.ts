/** Writable mounts for tests: snapshots of a throw-away store, the processes that serve them, and what users do in them. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../images/oci.js';
import { CLI } from './cli.js';
import { Workplace } from './mounted.js';
import { mountsBelow } from './store-listing.js';
import { transportOptions } from './transports.js';

/** Not a version manager's stand-in, which takes longer to start than what it starts. */
export const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';
export const FUSE_LAYERFS = join(CLI, '../fuse-layerfs.js');

export interface Outcome {
  /** 124 or 137: ended by `timeout`. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** After so many it is killed with all that it started. */
  seconds?: number;
  env?: Record<string, string>;
  cwd?: string;
}

/** Runs a program that may fail, but not hang. */
export function attempt(program: string, args: string[], options: RunOptions = {}): Promise<Outcome> {
  const { seconds = 120, env, cwd } = options;
  return new Promise((resolve, reject) => {
    execFile(
      'timeout',
      ['-k', '5', String(seconds), program, ...args],
      { encoding: 'utf8', maxBuffer: 1 << 28, env: { ...process.env, LC_ALL: 'C', ...env }, ...(cwd && { cwd }) },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code === 'string') reject(error);
        else resolve({ code: error === null ? 0 : Number(error.code ?? 137), stdout, stderr });
      },
    );
  });
}

/** Standard output of `sh -euc SCRIPT`, whose arguments are $1 and so on. It must succeed. */
export async function sh(script: string, args: string[] = [], options: RunOptions = {}): Promise<string> {
  return must('sh', ['-euc', script, 'sh', ...args], options);
}

/** Standard output of a python program. It must succeed. */
export function python(program: string, args: string[] = [], options: RunOptions = {}): Promise<string> {
  return must(PYTHON, ['-c', program, ...args], options);
}

async function must(program: string, args: string[], options: RunOptions): Promise<string> {
  const { code, stdout, stderr } = await attempt(program, args, options);
  if (code === 0) return stdout;
  const said = `${stdout.slice(-3000)}${stderr.slice(-3000)}`;
  throw new Error(`${program} ${args.slice(2).join(' ')} ended with ${code}: ${said}`);
}

export interface SnapshotFolders {
  name: string;
  upper: string;
  work: string;
  mountpoints: string[];
}

/** A store with writable mounts. */
export class UnionPlace extends Workplace {
  /** Mounts a snapshot, a new one or one that is there; at a new mountpoint unless one is given. */
  async rw(ref: string, name: string, options: string[] = [], mountpoint = this.newFolder('mnt')): Promise<string> {
    await this.ok(['mount', ref, mountpoint, '--rw', '--name', name, ...transportOptions(this.transport), ...options]);
    return mountpoint;
  }

  async snapshot(name: string): Promise<SnapshotFolders> {
    const all = JSON.parse(await this.ok(['snapshots', '--json'])) as SnapshotFolders[];
    const found = all.find((snapshot) => snapshot.name === name);
    if (found === undefined) throw new Error(`no snapshot ${name}`);
    return found;
  }

  /** The process that serves a mount. */
  async server(mountpoint: string): Promise<number> {
    const all = JSON.parse(await this.ok(['mounts', '--json'])) as { mountpoint: string; pid: number }[];
    const found = all.find((mount) => mount.mountpoint === mountpoint);
    if (found === undefined) throw new Error(`no mount at ${mountpoint}`);
    return found.pid;
  }

  /** Objects of the store whose bytes are not those of their name; there must be none. */
  async damagedObjects(): Promise<string> {
    const script = `cd "$1"; find . -type f -print0 | xargs -0r sha256sum | sed 's| [ *]\\./\\(..\\)/| \\1|' | awk '$1 != $2'`;
    return sh(script, [join(this.root, 'objects')]);
  }

  /** fuse-layerfs, or whatever else is to be mounted below this folder. */
  fuse(options: string, mountpoint: string, seconds = 30): Promise<Outcome> {
    return attempt(process.execPath, [FUSE_LAYERFS, '-o', options, mountpoint], { seconds });
  }
}

/** A file system of its own in a file, mounted; `size` as truncate(1) takes it. */
export async function loopDisk(file: string, mountpoint: string, size: string): Promise<void> {
  mkdirSync(mountpoint, { recursive: true });
  await sh('truncate -s "$3" "$1"; mkfs.ext4 -q -F "$1"; mount -o loop "$1" "$2"', [file, mountpoint, size]);
}

/** Whether this machine has loop devices for {@link loopDisk}. */
export async function hasLoop(): Promise<boolean> {
  const { code } = await attempt('losetup', ['-f'], { seconds: 10 });
  return code === 0;
}

/** Unmounts one mountpoint that is not layerfs's, once its last user is gone. */
export async function umount(mountpoint: string): Promise<void> {
  for (let tries = 0; mountsBelow(mountpoint).includes(mountpoint); tries++) {
    const { code, stderr } = await attempt('umount', [mountpoint], { seconds: 20 });
    if (code === 0) return;
    if (tries > 40) throw new Error(stderr);
    await sleep(100);
  }
}

/** Whether a process is there and is no zombie. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    const { stdout } = await run('ps', ['-o', 'stat=', '-p', String(pid)]);
    return !stdout.startsWith('Z');
  } catch {
    return false;
  }
}

export async function ended(pid: number, seconds = 20): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; await isRunning(pid);) {
    if (Date.now() > deadline) throw new Error(`process ${pid} still runs`);
    await sleep(50);
  }
}
