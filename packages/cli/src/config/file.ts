/** layerfs's configuration: a TOML file, read in this one place. */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { LayerfsError } from 'layerfs/registry';
import { TomlError, parse } from 'smol-toml';

const MAX_LENGTH = 1 << 20;

/** A file that was read. */
export interface Config {
  readonly file: string;
  readonly root: Readonly<Record<string, unknown>>;
  /** A complaint about a key at the top, or a table. */
  bad(key: string, what: string): LayerfsError;
}

/** The file that counts where nobody names one; undefined where there is none. */
export function defaultConfig(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const { LAYERFS_CONFIG: named, XDG_CONFIG_HOME: config } = environment;
  if (named !== undefined && named !== '') return named;
  const home = environment['HOME'] ?? homedir();
  const own = join(config === undefined || config === '' ? join(home, '.config') : config, 'layerfs/config.toml');
  return [own, '/etc/layerfs/config.toml'].find((path) => existsSync(path));
}

/** @throws LayerfsError invalid-argument naming file and line for what is no TOML */
export function readConfig(file: string): Config {
  const text = readBounded(file);
  const bad = (line: number | undefined, what: string): LayerfsError =>
    new LayerfsError('invalid-argument', `${file}${line === undefined ? '' : `:${line}`}: ${what}`);
  try {
    return { file, root: parse(text), bad: (key, what) => bad(lineOf(text, key), what) };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw bad(error.line, error.message.split('\n')[0] ?? 'is no TOML');
  }
}

/** Where a key at the top, or a table of that name, begins; 1 is the first line. */
function lineOf(text: string, key: string): number | undefined {
  const quoted = [key, JSON.stringify(key), `'${key}'`].map((each) => each.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const begins = new RegExp(`^\\s*(?:\\[{1,2}\\s*)?(?:registries\\s*\\.\\s*)?(?:${quoted.join('|')})\\s*[=.\\]]`);
  const at = text.split('\n').findIndex((line) => begins.test(line));
  return at === -1 ? undefined : at + 1;
}

function readBounded(file: string): string {
  const fd = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(MAX_LENGTH + 1);
    let length = 0;
    for (let n = -1; n !== 0 && length < buffer.length; length += n) {
      n = readSync(fd, buffer, length, buffer.length - length, null);
    }
    if (length > MAX_LENGTH) throw new LayerfsError('invalid-argument', `${file} has more than ${MAX_LENGTH} bytes`);
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(fd);
  }
}
