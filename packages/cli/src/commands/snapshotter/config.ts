/** Options of a command out of a TOML file. What stands on the command line goes before what stands in the file. */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Command, Option } from 'commander';
import { LayerfsError } from 'layerfs';
import { TomlError, parse } from 'smol-toml';

const MAX_LENGTH = 1 << 20;

/**
 * Gives a command, and the program it belongs to, the options that stand in a file: keys are the options' long names with
 * `_` for `-`.
 * @throws LayerfsError invalid-argument, naming file and line, for what is no TOML, an unknown key, or a bad value
 */
export function applyConfig(command: Command, file: string): void {
  const text = readBounded(file);
  const bad = (line: number | undefined, what: string): LayerfsError =>
    new LayerfsError('invalid-argument', `${file}${line === undefined ? '' : `:${line}`}: ${what}`);
  const known = new Map<string, { readonly option: Option; readonly owner: Command }>();
  for (const owner of [command, ...(command.parent === null ? [] : [command.parent])]) {
    for (const option of owner.options) known.set(keyOf(option), { option, owner });
  }
  for (const key of ['config', 'version', 'help']) known.delete(key);
  for (const [key, value] of Object.entries(parsed(text, bad))) {
    const line = lineOf(text, key);
    const found = known.get(key);
    if (found === undefined) {
      throw bad(line, `unknown key ${JSON.stringify(key)}; there are ${[...known.keys()].sort().join(', ')}`);
    }
    const { option, owner } = found;
    if (owner.getOptionValueSource(option.attributeName()) === 'cli') continue;
    owner.setOptionValueWithSource(
      option.attributeName(),
      valueOf(option, value, (what) => bad(line, `${key} ${what}`)),
      'config',
    );
  }
}

function parsed(text: string, bad: (line: number, what: string) => LayerfsError): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw bad(error.line, error.message.split('\n')[0] ?? 'is no TOML');
  }
}

function valueOf(option: Option, value: unknown, bad: (what: string) => LayerfsError): unknown {
  if (!option.required && !option.optional) {
    if (typeof value !== 'boolean') throw bad('is true or false');
    return value;
  }
  if (typeof value !== 'string' && typeof value !== 'number') throw bad('is a text in quotes');
  const text = String(value);
  if (option.argChoices !== undefined && !option.argChoices.includes(text)) {
    throw bad(`is one of ${option.argChoices.join(', ')}`);
  }
  if (option.parseArg === undefined) return text;
  try {
    return option.parseArg(text, undefined);
  } catch (error) {
    throw bad(`is ${JSON.stringify(text)}: ${(error as Error).message}`);
  }
}

function keyOf(option: Option): string {
  return (option.long ?? '').replace(/^--/, '').replaceAll('-', '_');
}

/** Where a key at the top, or a table of that name, begins; 1 is the first line. */
function lineOf(text: string, key: string): number | undefined {
  const quoted = [key, JSON.stringify(key), `'${key}'`].map((each) => each.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const begins = new RegExp(`^\\s*(?:\\[{1,2}\\s*)?(?:${quoted.join('|')})\\s*[=.\\]]`);
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
