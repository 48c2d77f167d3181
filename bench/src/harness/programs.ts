import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const TOP = fileURLToPath(new URL('../../..', import.meta.url));
/** The command under test. */
export const LAYERFS = join(TOP, 'node_modules/.bin/layerfs');

/** Debian packages of the peers. */
const PACKAGES: Readonly<Record<string, string>> = {
  ctr: 'containerd',
  'mkfs.ext4': 'e2fsprogs',
  unionfs: 'unionfs-fuse',
  cc: 'gcc libc6-dev',
};

/** Whether a program is on the PATH. */
export function has(program: string): boolean {
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) =>
    existsSync(join(folder, program)),
  );
}

/** Says which package brings a missing peer. */
export function missing(program: string): string {
  return `${program} is missing: apt install ${PACKAGES[program] ?? program}`;
}

/** Runs a program to its end; throws with its words when it fails. Returns standard output. */
export function run(program: string, ...args: string[]): string {
  const result = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.error !== undefined || result.status !== 0) {
    throw new Error(`${program} ${args.join(' ')}: ${result.error?.message ?? result.stderr}`);
  }
  return result.stdout;
}

/** Whether a process is there and has not ended. */
export function runs(pid: number): boolean {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return false;
  }
}

/** Milliseconds that a shell command takes. */
export function time(command: string): number {
  const started = performance.now();
  run('sh', '-c', command);
  return performance.now() - started;
}

/** Runs a small Node script that prints milliseconds; its start is not counted. */
export function timeScript(script: string, ...args: string[]): number {
  return Number(run(process.execPath, '--input-type=module', '-e', script, '--', ...args));
}

/** Empties the page, dentry and inode caches (3), or the last two (2). Root only. */
export function dropCaches(level: 2 | 3 = 3): void {
  run('sync');
  writeFileSync('/proc/sys/vm/drop_caches', String(level));
}

/** Memory of a process in MB: all, and what is its own (not file pages, which are shared and can be dropped). */
export function memoryOf(pid: number): { rss: number; anonymous: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1024;
  return { rss: field('VmRSS'), anonymous: field('RssAnon') };
}

/** Runs a program and returns the most memory (MB, resident) that it had. */
export async function peakMemory(program: string, ...args: string[]): Promise<number> {
  const child = spawn(program, args, { stdio: 'ignore' });
  let peak = 0;
  const look = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      peak = Math.max(peak, Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024);
    } catch (error) {
      // It has just ended.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' && (error as NodeJS.ErrnoException).code !== 'ESRCH')
        throw error;
    }
  }, 20);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  clearInterval(look);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with code ${status}`);
  return peak;
}
