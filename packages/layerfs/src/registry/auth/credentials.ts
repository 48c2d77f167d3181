/**
 * Credentials as other tools keep them: Docker's config.json, containers' auth.json (containers-auth.json(5)), and the
 * credential helpers that they name. Read each time that they are needed, and never kept in messages.
 */
import { LayerfsError } from '../../core/error.js';
import { credentialKeys, type RegistryReference } from '../address.js';
import { authFiles, parseAuthFile, readAuthFile, type AuthFile } from './auth-file.js';
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
  const helper = helperFor(file, keys);
  if (helper !== undefined) return askHelper(helper.name, helper.key, environment, signal);
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

/** The helper that a file names for a registry alone. */
export function helperFor(file: AuthFile, keys: readonly string[]): { name: string; key: string } | undefined {
  for (const key of keys) {
    const name = Object.hasOwn(file.credHelpers, key) ? file.credHelpers[key] : undefined;
    if (typeof name === 'string') return { name, key };
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
