import { defaultRoot, doctor } from 'layerfs';
import type { GlobalOptions } from '../../context.js';
import { EXIT } from '../../errors.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

const MARKS = { true: 'yes ', warn: 'note', false: 'no  ' } as const;

/** `layerfs doctor`: exits with 6 where something that mounts need is missing or broken; with 0 where they only could be faster. */
export async function run(options: Options): Promise<void> {
  const checks = await doctor(options.root ?? defaultRoot());
  if (checks.some(({ ok }) => ok === false)) process.exitCode = EXIT.busy;
  if (options.json === true) return printJson(checks);
  const width = Math.max(...checks.map((check) => check.name.length));
  const more = ' '.repeat(width + 8);
  for (const { name, ok, detail, use, hint } of checks) {
    if (options.quiet === true && ok !== false) continue;
    print(`${MARKS[`${ok}`]}  ${name.padEnd(width)}  ${detail}`);
    if (use !== undefined) print(`${more}${use}`);
    if (hint !== undefined && ok !== true) print(`${more}To get more: ${hint}`);
  }
}
