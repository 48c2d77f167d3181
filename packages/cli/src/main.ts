import { readFileSync } from 'node:fs';
import { explainError, type Doing } from './errors.js';
import { note } from './output.js';
import { buildProgram, type Runner } from './program/program.js';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const build = `layerfs ${version} (Node.js ${process.versions.node}, ${process.platform} ${process.arch})`;

let current: Doing | undefined;
const run: Runner = async (load, values, doing) => {
  current = doing;
  const { run } = await load();
  await (run as (...values: readonly unknown[]) => Promise<void>)(...values);
};

try {
  await buildProgram(build, run).parseAsync();
} catch (error) {
  const { message, hint, exit } = explainError(error, current);
  if (message !== undefined) note(`layerfs: ${message}`);
  if (hint !== undefined) note(`  ${hint}`);
  process.exitCode = exit;
}
