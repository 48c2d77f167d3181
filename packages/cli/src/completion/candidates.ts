import type { Argument, Command, Option } from 'commander';
import { kindsOf, type Kind } from './kinds.js';

/** What could stand where the cursor is. */
export interface Candidates {
  /** Whether the shell should offer paths, too. */
  readonly paths: 'files' | 'folders' | 'none';
  readonly words: readonly Candidate[];
}

export interface Candidate {
  /** The whole word. */
  readonly word: string;
  readonly description: string;
}

/** Names that the store has; `root` as on the command line. */
export type Names = (kind: Exclude<Kind, 'file' | 'folder'>, root: string | undefined) => Promise<readonly string[]>;

/** What is known of the words before the cursor. */
interface Place {
  readonly command: Command | undefined;
  /** A command was named that there is not: nothing is known of what follows. */
  readonly unknown: boolean;
  /** Arguments of the command so far. */
  readonly given: number;
  /** An option that waits for its value. */
  readonly option: Option | undefined;
  readonly optionsEnded: boolean;
  readonly root: string | undefined;
}

/**
 * Completes the last of `words`, which are those behind the program's name.
 * @param program the command table
 */
export async function candidates(program: Command, words: readonly string[], names: Names): Promise<Candidates> {
  const current = words.at(-1) ?? '';
  const place = readWords(program, words.slice(0, -1));
  const value = async (of: Option, typed: string, prefix: string): Promise<Candidates> =>
    matching(typed, prefix, of.argChoices, kindsOf(place.command?.name() ?? '', placeholderOf(of)), place.root);
  const matching = async (
    typed: string,
    prefix: string,
    choices: readonly string[] | undefined,
    kinds: readonly Kind[],
    root: string | undefined,
  ): Promise<Candidates> => {
    const found = [...(choices ?? [])];
    for (const kind of kinds) if (kind !== 'file' && kind !== 'folder') found.push(...(await names(kind, root)));
    return {
      paths: kinds.includes('file') ? 'files' : kinds.includes('folder') ? 'folders' : 'none',
      words: [...new Set(found)]
        .filter((word) => word.startsWith(typed))
        .map((word) => ({ word: prefix + word, description: '' })),
    };
  };

  if (place.unknown) return { paths: 'none', words: [] };
  if (place.option !== undefined) return value(place.option, current, '');
  if (!place.optionsEnded && current.startsWith('-')) {
    const equals = current.indexOf('=');
    if (equals === -1) return { paths: 'none', words: optionWords(program, place.command, current) };
    const option = findOption(program, place.command, current.slice(0, equals));
    if (option?.required === true) return value(option, current.slice(equals + 1), current.slice(0, equals + 1));
    return { paths: 'none', words: [] };
  }
  if (place.command === undefined) return { paths: 'none', words: commandWords(program, current) };
  const argument = argumentAt(place.command, place.given);
  if (argument === undefined) return { paths: 'none', words: [] };
  return matching(current, '', argument.argChoices, kindsOf(place.command.name(), argument.name()), place.root);
}

function readWords(program: Command, words: readonly string[]): Place {
  let command: Command | undefined;
  let given = 0;
  let unknown = false;
  let option: Option | undefined;
  let optionsEnded = false;
  let root: string | undefined;
  for (const word of words) {
    if (option !== undefined) {
      if (option.long === '--root') root = word;
      option = undefined;
    } else if (!optionsEnded && word === '--') {
      optionsEnded = true;
    } else if (!optionsEnded && word.startsWith('-')) {
      const equals = word.indexOf('=');
      if (equals === -1) {
        const found = findOption(program, command, word);
        if (found?.required === true) option = found;
      } else if (word.startsWith('--root=')) {
        root = word.slice(equals + 1);
      }
    } else if (command === undefined) {
      command = program.commands.find((each) => each.name() === word || each.aliases().includes(word));
      unknown ||= command === undefined;
    } else {
      given++;
    }
  }
  return { command, unknown, given, option, optionsEnded, root };
}

function optionsOf(program: Command, command: Command | undefined): Option[] {
  return [program, command].flatMap((each) => (each === undefined ? [] : each.createHelp().visibleOptions(each)));
}

function findOption(program: Command, command: Command | undefined, flag: string): Option | undefined {
  return optionsOf(program, command).find(({ long, short }) => flag === long || flag === short);
}

function optionWords(program: Command, command: Command | undefined, typed: string): Candidate[] {
  const words = new Map<string, Candidate>();
  for (const { long, description } of optionsOf(program, command)) {
    // A command's version is the program's.
    if (typeof long !== 'string' || (command !== undefined && long === '--version')) continue;
    if (long.startsWith(typed)) words.set(long, { word: long, description });
  }
  return [...words.values()];
}

function commandWords(program: Command, typed: string): Candidate[] {
  return program.commands
    .map((each) => ({ word: each.name(), description: each.description() }))
    .filter(({ word }) => word.startsWith(typed));
}

function argumentAt(command: Command, index: number): Argument | undefined {
  const { registeredArguments } = command;
  const last = registeredArguments.at(-1);
  return registeredArguments[index] ?? (last?.variadic === true ? last : undefined);
}

/** `folder` of `--root <folder>`. */
export function placeholderOf(option: Option): string {
  return /<(.*?)>/.exec(option.flags)?.[1] ?? '';
}
