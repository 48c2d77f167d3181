import { spawn } from 'node:child_process';
import { LayerfsError } from '../../core/error.js';
import type { Credentials } from './credentials.js';

const MOST = 1 << 20;
/** What helpers print where they have nothing. */
const NONE = /credentials not found|no credentials server URL|not implemented/i;

/**
 * Asks a credential helper (`docker-credential-NAME get`). What it prints goes into no message.
 * @throws LayerfsError when it is not there, or fails
 */
export async function askHelper(
  name: string,
  key: string,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<Credentials | undefined> {
  const { code, output } = await callHelper(name, 'get', key, environment, signal);
  if (code !== 0 && NONE.test(output)) return undefined;
  if (code !== 0) {
    throw new LayerfsError('unavailable', `docker-credential-${name} failed for ${key} with exit code ${code}`);
  }
  const { Username: username, Secret: secret } = parseAnswer(name, output);
  if (typeof username !== 'string' || typeof secret !== 'string') throw wrongAnswer(name);
  if (username === '<token>') return { identityToken: secret };
  return secret === '' ? undefined : { username, password: secret };
}

/** Runs a helper with `input` on its standard input. */
export function callHelper(
  name: string,
  action: 'get' | 'store' | 'erase',
  input: string,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<{ readonly code: number; readonly output: string }> {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) {
    throw new LayerfsError('invalid-argument', `${JSON.stringify(name.slice(0, 80))} names no credential helper`);
  }
  const program = `docker-credential-${name}`;
  return new Promise((resolve, reject) => {
    const child = spawn(program, [action], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: environment,
      ...(signal === undefined ? {} : { signal }),
    });
    const pieces: Buffer[] = [];
    let size = 0;
    child.stdout.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size > MOST) child.kill('SIGKILL');
      else pieces.push(piece);
    });
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (error.name === 'AbortError') reject(new LayerfsError('aborted', 'interrupted'));
      else reject(new LayerfsError('unavailable', `${program} cannot be run (${error.code ?? error.message})`));
    });
    child.once('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(pieces).toString('utf8') }));
    child.stdin.on('error', (error: NodeJS.ErrnoException) => {
      // It need not read all.
      if (error.code !== 'EPIPE') reject(error);
    });
    child.stdin.end(input);
  });
}

function parseAnswer(name: string, output: string): { Username?: unknown; Secret?: unknown } {
  try {
    const value = JSON.parse(output) as unknown;
    if (typeof value === 'object' && value !== null) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw wrongAnswer(name);
}

function wrongAnswer(name: string): LayerfsError {
  return new LayerfsError('invalid-argument', `docker-credential-${name} gives no user and secret`);
}
