/**
 * Makes what installs a project of real packages without any network: `node test/dist/npm/prepare.js FOLDER` writes FOLDER/project
 * (package.json and package-lock.json) and FOLDER/home (npm's cache), and prints, as JSON, how many packages they are and the command that
 * installs them in a copy of the project.
 */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installedPackages } from './packages.js';
import { makeProject, npmIn } from './project.js';
import { startRegistry } from './registry.js';

const [folder] = process.argv.slice(2);
const [project, home] = ['project', 'home'].map((name) => join(folder, name));
const packages = await installedPackages();
makeProject(project, packages);
const registry = await startRegistry(packages);
try {
  const { stdout } = await promisify(execFile)('sh', ['-c', `${npmIn(home, registry.url)} install`], { cwd: project });
  const count = Number(/added (\d+) packages/.exec(stdout)?.[1]);
  rmSync(join(project, 'node_modules'), { recursive: true });
  console.log(JSON.stringify({ packages: count, command: `${npmIn(home)} ci --offline` }));
} finally {
  await registry.close();
}
