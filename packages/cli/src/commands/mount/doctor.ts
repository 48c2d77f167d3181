import { defaultRoot, doctor } from 'layerfs';
import type { GlobalOptions } from '../../context.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs doctor`: exits with 0 whatever it finds; the checks are information, not a verdict. */
export async function run(options: Options): Promise<void> {
  const checks = doctor(options.root ?? defaultRoot());
  if (options.json === true) return printJson(checks);
  const width = Math.max(...checks.map((check) => check.name.length));
  for (const check of checks) {
    const mark = check.ok === true ? 'yes ' : check.ok === 'warn' ? 'note' : 'no  ';
    print(`${mark}  ${check.name.padEnd(width)}  ${check.detail}`);
    if (check.hint !== undefined && check.ok !== true) print(`${' '.repeat(width + 8)}${check.hint}`);
  }
}
