/** Options of a command out of a TOML file. What stands on the command line goes before what stands in the file. */
import type { Command, Option } from 'commander';
import { readConfig } from './file.js';
import { parseRegistries } from './registries.js';

/**
 * Gives a command, and the program it belongs to, the options that stand in a file: keys are the options' long names with
 * `_` for `-`.
 * @throws LayerfsError invalid-argument, naming file and line, for what is no TOML, an unknown key, or a bad value
 */
export function applyConfig(command: Command, file: string): void {
  const config = readConfig(file);
  const known = new Map<string, { readonly option: Option; readonly owner: Command }>();
  for (const owner of [command, ...(command.parent === null ? [] : [command.parent])]) {
    for (const option of owner.options) known.set(keyOf(option), { option, owner });
  }
  for (const key of ['config', 'version', 'help']) known.delete(key);
  // For those who speak to registries. Whoever writes it wrong is told here, too.
  parseRegistries(config);
  for (const [key, value] of Object.entries(config.root)) {
    if (key === 'registries') continue;
    const found = known.get(key);
    if (found === undefined) {
      throw config.bad(
        key,
        `unknown key ${JSON.stringify(key)}; there are ${[...known.keys(), 'registries'].sort().join(', ')}`,
      );
    }
    const { option, owner } = found;
    if (owner.getOptionValueSource(option.attributeName()) === 'cli') continue;
    owner.setOptionValueWithSource(
      option.attributeName(),
      valueOf(option, value, (what) => config.bad(key, `${key} ${what}`)),
      'config',
    );
  }
}

function valueOf(option: Option, value: unknown, bad: (what: string) => Error): unknown {
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
