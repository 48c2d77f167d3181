/** Runs the `layerfs` command as a user would. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const CLI = fileURLToPath(new URL('../../packages/cli/bin/layerfs.js', import.meta.url));

export interface CliResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** Given to the program's standard input; without it standard input is empty. */
  input?: Uint8Array;
  /** Run as this user and group. */
  uid?: number;
}

/** Ends in all cases, also with a failure; the caller judges the code. */
export function layerfs(args: string[], options: CliOptions = {}): Promise<CliResult> {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: options.cwd,
    env: { ...process.env, NO_COLOR: '1', ...options.env },
    stdio: 'pipe',
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.once('error', (error: NodeJS.ErrnoException) => {
    // The program may end before it has read everything.
    if (error.code !== 'EPIPE') throw error;
  });
  child.stdin.end(options.input ?? Buffer.alloc(0));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** As `layerfs`, for calls that must succeed: gives standard output. */
export async function layerfsOk(args: string[], options: CliOptions = {}): Promise<string> {
  const result = await layerfs(args, options);
  if (result.code === 0) return result.stdout;
  throw new Error(`layerfs ${args.join(' ')} ended with ${result.code ?? result.signal}: ${result.stderr}`);
}
