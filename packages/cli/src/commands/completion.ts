import { candidates } from '../completion/candidates.js';
import { namesOf } from '../completion/names.js';
import { SCRIPTS, type Shell } from '../completion/scripts.js';
import { print } from '../output.js';
import { buildProgram } from '../program/program.js';

/** `layerfs completion`: the script for a shell or, called by that with the words of a command line, what could stand for the last. */
export async function run(shell: Shell, words: readonly string[]): Promise<void> {
  if (words.length === 0) return print(SCRIPTS[shell].trimEnd());
  const { paths, words: found } = await candidates(
    buildProgram('', () => Promise.resolve()),
    words,
    namesOf,
  );
  // A line a word: what has a line's end in it cannot be told to a shell.
  const lines = found
    .filter(({ word }) => !/[\n\t]/.test(word))
    .map(({ word, description }) => `${word}\t${description}`);
  print([paths, ...lines].join('\n'));
}
