/** A server that is killed at each system call by which it changes something: between any two of them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { attempt, ended } from './union-place.js';

/** By what a server changes its upper folder. */
const CHANGING = `
  renameat2 linkat unlinkat mkdirat mknodat symlinkat ftruncate copy_file_range
  fchmod fchmodat fchmodat2 fchown fchownat utimensat
  setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr`
  .trim()
  .split(/\s+/);

/** A system call, and the how manieth of its name. */
export interface Step {
  name: string;
  count: number;
}

/** The process that has a folder open: of a work folder, its server. */
export function holderOf(folder: string): number {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const fds = join('/proc', pid, 'fd');
      if (readdirSync(fds).some((fd) => readlinkSync(join(fds, fd)) === folder)) return Number(pid);
    } catch (error) {
      // It has ended, or closed a file, since it was listed; or is none of our business.
      if (!(error instanceof Error && 'code' in error && ['ENOENT', 'ESRCH', 'EACCES'].includes(String(error.code))))
        throw error;
    }
  }
  throw new Error(`nobody has ${folder} open`);
}

/** Runs a script while strace looks at a process. It is ended by a signal: it may wait for ever for what it killed itself. */
async function traced(
  pid: number,
  options: string[],
  script: string,
  folder: string,
  by: NodeJS.Signals,
): Promise<void> {
  const calls = CHANGING.map((name) => `?${name}`).join(',');
  const trace = spawn('strace', ['-f', '-p', String(pid), '-e', `trace=${calls}`, ...options], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const end = once(trace, 'close');
  await once(trace.stderr, 'data');
  await attempt('sh', ['-c', `cd "$1"; ${script}`, 'sh', folder], { seconds: 20 });
  trace.kill(by);
  await end;
}

/** The steps that a script makes the server of `folder` do. */
export async function stepsOf(pid: number, script: string, folder: string, log: string): Promise<Step[]> {
  await traced(pid, ['-o', log], script, folder, 'SIGINT');
  const counts = new Map<string, number>();
  return [...readFileSync(log, 'utf8').matchAll(/^(?:\d+ +)?(\w+)\(/gm)].map(([, name]) => {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    return { name, count };
  });
}

/** Runs the script; the server is killed before it can do that step. */
export async function killedAt(pid: number, { name, count }: Step, script: string, folder: string): Promise<void> {
  await traced(pid, ['-o', '/dev/null', '-e', `inject=${name}:signal=KILL:when=${count}`], script, folder, 'SIGKILL');
  await ended(pid);
}
