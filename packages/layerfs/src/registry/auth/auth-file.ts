/** Files of credentials: Docker's config.json, and containers' auth.json (containers-auth.json(5)). */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { LayerfsError } from '../../core/error.js';
import { isMissing } from '../files.js';

/** A file of credentials: what it holds, and which helpers keep more. */
export interface AuthFile {
  readonly path: string;
  /** As it stands. */
  readonly root: Readonly<Record<string, unknown>>;
  readonly auths: Readonly<Record<string, { auth?: unknown; identitytoken?: unknown }>>;
  readonly credHelpers: Readonly<Record<string, unknown>>;
  readonly credsStore?: unknown;
}

const MOST = 4 << 20;

/** Files in the order in which they are asked. */
export function authFiles(environment: NodeJS.ProcessEnv = process.env): string[] {
  const { REGISTRY_AUTH_FILE: named, XDG_RUNTIME_DIR: runtime, XDG_CONFIG_HOME: config } = environment;
  const home = environment['HOME'] ?? homedir();
  return [
    ...(named === undefined || named === '' ? [] : [named]),
    ...(runtime === undefined || runtime === '' ? [] : [join(runtime, 'containers/auth.json')]),
    ...(process.getuid === undefined ? [] : [`/run/containers/${process.getuid()}/auth.json`]),
    join(config === undefined || config === '' ? join(home, '.config') : config, 'containers/auth.json'),
    dockerConfig(environment),
  ];
}

/** Docker's config.json. */
export function dockerConfig(environment: NodeJS.ProcessEnv = process.env): string {
  const folder = environment['DOCKER_CONFIG'];
  const home = environment['HOME'] ?? homedir();
  return join(folder === undefined || folder === '' ? join(home, '.docker') : folder, 'config.json');
}

/** @param strict tells also what may not be read */
export function readAuthFile(path: string, strict = false): AuthFile | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    // That of another user, as under sudo, is none of ours.
    if (isMissing(error) || (!strict && (error as NodeJS.ErrnoException).code === 'EACCES')) return undefined;
    throw error;
  }
  return parseAuthFile(text.trim() === '' ? '{}' : text, path);
}

/** @param path names it in messages @throws LayerfsError, which shows nothing of the text */
export function parseAuthFile(text: string, path: string): AuthFile {
  const bad = (): LayerfsError => new LayerfsError('invalid-argument', `${path} is not a JSON file of credentials`);
  if (text.length > MOST) throw bad();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // The parser's message would show some of the text.
    if (error instanceof SyntaxError) throw bad();
    throw error;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad();
  const { auths, credHelpers, credsStore } = value as Record<string, unknown>;
  if (auths !== undefined && (typeof auths !== 'object' || auths === null || Array.isArray(auths))) throw bad();
  const entries = Object.entries((auths ?? {}) as Record<string, unknown>).filter(
    ([, entry]) => typeof entry === 'object' && entry !== null,
  );
  return {
    path,
    root: value as Record<string, unknown>,
    auths: Object.fromEntries(entries) as AuthFile['auths'],
    credHelpers: (credHelpers ?? {}) as AuthFile['credHelpers'],
    credsStore,
  };
}
