/**
 * `driver.js ROOT SOURCES`: makes the sources, in a new folder, does the scenario's steps to a recorded store, and says
 * when each begins and is done.
 */
import { existsSync } from 'node:fs';
import { makeSources, STEPS } from '../scenario.js';
import { MARK, SAVE } from './log.js';

const [root, sources] = process.argv.slice(2);
makeSources(sources);
for (const [i, step] of STEPS.entries()) {
  existsSync(`${root}/${MARK}begin ${i}`);
  await step.run(root, sources);
  existsSync(`${root}/${MARK}done ${i}`);
}
existsSync(`${root}/${SAVE}`);
