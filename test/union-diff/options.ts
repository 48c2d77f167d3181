/** What to run: arguments, and environment variables of the same names for vitest. */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

export interface Options {
  readonly subject: string;
  readonly seed: number;
  readonly sequences: number;
  /** Operations of a sequence. */
  readonly length: number;
  /** Processes, each with mounts of its own. */
  readonly jobs: number;
  /** How many different failures a process shrinks and shows. */
  readonly reports: number;
  /** Show failing sequences whole, too, not only shrunk. */
  readonly full: boolean;
  /** Print what came of each kind of operation. */
  readonly tally: boolean;
  /** Several processes use one mount at once. */
  readonly concurrent: boolean;
}

export function readOptions(args: string[], env: NodeJS.ProcessEnv): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      subject: text,
      seed: text,
      sequences: text,
      length: text,
      jobs: text,
      reports: text,
      full: { type: 'boolean' },
      tally: { type: 'boolean' },
      concurrent: { type: 'boolean' },
    },
  });
  const number = (name: 'seed' | 'sequences' | 'length' | 'jobs' | 'reports', otherwise: number): number => {
    const given = values[name] ?? env[name.toUpperCase()];
    const value = given === undefined ? otherwise : Number(given);
    if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name}: not a whole number: ${String(given)}`);
    return value;
  };
  const sequences = number('sequences', 200);
  return {
    subject: values.subject ?? env['SUBJECT'] ?? 'layerfs',
    seed: number('seed', 1),
    sequences,
    length: number('length', 200),
    jobs: Math.max(1, Math.min(number('jobs', availableParallelism()), sequences)),
    reports: number('reports', 5),
    full: values.full === true,
    tally: values.tally === true,
    concurrent: values.concurrent === true,
  };
}
