import { LayerfsError, parseRegistryHost, saveCredentials } from 'layerfs/registry';
import { interruption } from '../../context.js';
import { print } from '../../output.js';
import { ask, readInput } from '../../prompt.js';
import { registryOf, type RegistryOptions } from './options.js';

interface Options extends RegistryOptions {
  readonly username?: string;
  readonly passwordStdin?: boolean;
}

/** `layerfs login REGISTRY` */
export async function run(registry: string, options: Options): Promise<void> {
  const signal = interruption();
  const host = parseRegistryHost(registry);
  const username = options.username ?? (await askFor('User', false, '--username', signal));
  if (username === '' || username.includes(':')) {
    throw new LayerfsError('invalid-argument', 'a user name is not empty and has no colon in it');
  }
  const password =
    options.passwordStdin === true ? await readInput() : await askFor('Password', true, '--password-stdin', signal);
  if (password === '') throw new LayerfsError('invalid-argument', 'the password is empty');
  const credentials = { username, password };
  const client = registryOf(options, () => Promise.resolve(credentials));
  try {
    await client.ping(host, { signal });
  } finally {
    client.close();
  }
  const where = await saveCredentials(host, credentials, { signal });
  if (options.quiet !== true) print(`logged in to ${host}; kept in ${where}`);
}

function askFor(what: string, secret: boolean, option: string, signal: AbortSignal): Promise<string> {
  if (process.stdin.isTTY) return ask(`${what}: `, secret, signal);
  throw new LayerfsError('invalid-argument', `there is no terminal to ask on: give ${option}`);
}
