/**
 * Credentials as other tools keep them: Docker's config.json, containers' auth.json (containers-auth.json(5)), and the
 * credential helpers that they name. Read each time that they are needed, and never kept in messages.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { LayerfsError } from '../../core/error.js';
import { credentialKeys, type RegistryReference } from '../address.js';
import { isMissing } from '../files.js';
import { askHelper } from './helper.js';

/** Proof of who one is: a password, or a token that gets other tokens. */
export type Credentials =
  | { readonly username: string; readonly password: string }
  | { readonly username?: string; readonly identityToken: string };

/** Gives the credentials for what is asked for; undefined where there are none. */
export type CredentialSource = (
  reference: Pick<RegistryReference, 'host'> & { readonly repository?: string },
  signal?: AbortSignal,
) => Promise<Credentials | undefined>;

/** A file of credentials: what it holds, and which helpers keep more. */
interface AuthFile {
  readonly path: string;
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

/** Looks in `$DOCKER_AUTH_CONFIG`, which holds such a file's text, and then in the files of {@link authFiles}. */
export function storedCredentials(environment: NodeJS.ProcessEnv = process.env): CredentialSource {
  return async ({ host, repository }, signal) => {
    const text = environment['DOCKER_AUTH_CONFIG'];
    const files = text === undefined || text === '' ? [] : [parseAuthFile(text, '$DOCKER_AUTH_CONFIG')];
    for (const path of authFiles(environment)) {
      const file = readAuthFile(path);
      if (file !== undefined) files.push(file);
    }
    for (const file of files) {
      const found = await credentialsIn(file, host, repository, environment, signal);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

async function credentialsIn(
  file: AuthFile,
  host: string,
  repository: string | undefined,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<Credentials | undefined> {
  const keys = credentialKeys(host);
  for (const key of keys) {
    const helper = Object.hasOwn(file.credHelpers, key) ? file.credHelpers[key] : undefined;
    if (typeof helper === 'string') return askHelper(helper, key, environment, signal);
  }
  // containers: the longest part of the repository's path wins.
  const parts = repository?.split('/') ?? [];
  const paths = keys.flatMap((key) => parts.map((_, i) => `${key}/${parts.slice(0, parts.length - i).join('/')}`));
  for (const key of [...paths, ...keys]) {
    const entry = Object.hasOwn(file.auths, key) ? file.auths[key] : undefined;
    const found = entry === undefined ? undefined : fromEntry(entry, file.path, key);
    if (found !== undefined) return found;
  }
  if (typeof file.credsStore !== 'string' || file.credsStore === '') return undefined;
  for (const key of keys.slice(0, 2)) {
    const found = await askHelper(file.credsStore, key, environment, signal);
    if (found !== undefined) return found;
  }
  return undefined;
}

function fromEntry(
  entry: { auth?: unknown; identitytoken?: unknown },
  path: string,
  key: string,
): Credentials | undefined {
  const { auth, identitytoken: token } = entry;
  if (typeof token === 'string' && token !== '') return { identityToken: token };
  if (typeof auth !== 'string' || auth === '') return undefined;
  const text = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = text.indexOf(':');
  if (colon <= 0) throw new LayerfsError('invalid-argument', `${path}: the entry for ${key} is no user and password`);
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function readAuthFile(path: string): AuthFile | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    // That of another user, as under sudo, is none of ours.
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'EACCES') return undefined;
    throw error;
  }
  return text.trim() === '' ? undefined : parseAuthFile(text, path);
}

function parseAuthFile(text: string, path: string): AuthFile {
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
  if (typeof value !== 'object' || value === null) throw bad();
  const { auths, credHelpers, credsStore } = value as Record<string, unknown>;
  const entries = Object.entries((auths ?? {}) as Record<string, unknown>).filter(
    ([, entry]) => typeof entry === 'object' && entry !== null,
  );
  return {
    path,
    auths: Object.fromEntries(entries) as AuthFile['auths'],
    credHelpers: (credHelpers ?? {}) as AuthFile['credHelpers'],
    credsStore,
  };
}
