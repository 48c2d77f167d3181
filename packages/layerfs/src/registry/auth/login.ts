/** Keeping credentials where {@link storedCredentials} finds them: a file, or the helper that it names. */
import { join } from 'node:path';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { homedir } from 'node:os';
import { LayerfsError } from '../../core/error.js';
import { credentialKeys } from '../address.js';
import { authFiles, dockerConfig, readAuthFile, type AuthFile } from './auth-file.js';
import { changeAuthFile } from './change-file.js';
import { helperFor, type Credentials } from './credentials.js';
import { askHelper, callHelper } from './helper.js';

/** Options of {@link saveCredentials} and {@link forgetCredentials}. */
export interface LoginOptions {
  readonly environment?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

/**
 * Keeps credentials for a registry: where they were found before; else in the helper that the first file names for all registries;
 * else in `$REGISTRY_AUTH_FILE`, Docker's config.json where `$DOCKER_CONFIG` is set, or podman's auth.json.
 * @param host `host` or `host:port`, as {@link parseRegistryHost} gives it
 * @returns the file, or `docker-credential-NAME`
 */
export async function saveCredentials(
  host: string,
  credentials: Credentials,
  options: LoginOptions = {},
): Promise<string> {
  const { environment = process.env, signal } = options;
  const keys = credentialKeys(host);
  const { path, helper } = placeFor(keys, environment);
  if (helper !== undefined) {
    const text = JSON.stringify({
      ServerURL: helper.key,
      Username: 'identityToken' in credentials ? '<token>' : credentials.username,
      Secret: 'identityToken' in credentials ? credentials.identityToken : credentials.password,
    });
    const { code } = await callHelper(helper.name, 'store', text, environment, signal);
    if (code !== 0) {
      throw new LayerfsError('unavailable', `docker-credential-${helper.name} failed to store with exit code ${code}`);
    }
    return `docker-credential-${helper.name}`;
  }
  const entry = entryOf(credentials);
  const change = (auths: Record<string, unknown>): void => {
    for (const key of keys) delete auths[key];
    auths[keys[0]] = entry;
  };
  await changeAuthFile(path, change, signal);
  return path;
}

/** Forgets credentials for a registry, wherever they are. @returns the files and helpers that had some */
export async function forgetCredentials(host: string, options: LoginOptions = {}): Promise<string[]> {
  const { environment = process.env, signal } = options;
  const keys = credentialKeys(host);
  const found: string[] = [];
  const erase = async (name: string, key: string): Promise<void> => {
    if ((await askHelper(name, key, environment, signal)) === undefined) return;
    const { code } = await callHelper(name, 'erase', key, environment, signal);
    if (code !== 0) {
      throw new LayerfsError('unavailable', `docker-credential-${name} failed to erase with exit code ${code}`);
    }
    found.push(`docker-credential-${name}`);
  };
  for (const path of new Set(authFiles(environment))) {
    const file = readAuthFile(path);
    if (file === undefined) continue;
    const helper = helperFor(file, keys);
    if (helper !== undefined) await erase(helper.name, helper.key);
    else if (hasStore(file)) for (const key of keys.slice(0, 2)) await erase(file.credsStore, key);
    if (!keys.some((key) => Object.hasOwn(file.auths, key))) continue;
    const change = (auths: Record<string, unknown>): void => {
      for (const key of keys) delete auths[key];
    };
    await changeAuthFile(path, change, signal);
    found.push(path);
  }
  return [...new Set(found)];
}

function entryOf(credentials: Credentials): object {
  if ('identityToken' in credentials) return { identitytoken: credentials.identityToken };
  const { username, password } = credentials;
  if (username === '' || username.includes(':')) {
    throw new LayerfsError('invalid-argument', 'a user name is not empty and has no colon in it');
  }
  return { auth: Buffer.from(`${username}:${password}`).toString('base64') };
}

/** Where a registry's credentials would be found first, so that older ones do not stand before the new ones. */
function placeFor(
  keys: readonly string[],
  environment: NodeJS.ProcessEnv,
): { path: string; helper?: { name: string; key: string } | undefined } {
  const named = environment['REGISTRY_AUTH_FILE'];
  const paths = named === undefined || named === '' ? authFiles(environment) : [named];
  for (const path of paths) {
    const file = readAuthFile(path);
    if (file === undefined) continue;
    const helper = helperFor(file, keys);
    if (helper !== undefined) return { path, helper };
    if (hasStore(file)) return { path, helper: { name: file.credsStore, key: keys[0] } };
    if (keys.some((key) => Object.hasOwn(file.auths, key))) return { path };
  }
  return { path: newFile(environment) };
}

function newFile(environment: NodeJS.ProcessEnv): string {
  const {
    REGISTRY_AUTH_FILE: named,
    DOCKER_CONFIG: docker,
    XDG_RUNTIME_DIR: runtime,
    XDG_CONFIG_HOME: config,
  } = environment;
  if (named !== undefined && named !== '') return named;
  if (docker !== undefined && docker !== '') return dockerConfig(environment);
  if (runtime !== undefined && runtime !== '') return join(runtime, 'containers/auth.json');
  if (process.geteuid?.() === 0 && hasMachineIds()) return '/run/containers/0/auth.json';
  const home = environment['HOME'] ?? homedir();
  return join(config === undefined || config === '' ? join(home, '.config') : config, 'containers/auth.json');
}

function hasStore(file: AuthFile): file is AuthFile & { readonly credsStore: string } {
  return typeof file.credsStore === 'string' && file.credsStore !== '';
}
