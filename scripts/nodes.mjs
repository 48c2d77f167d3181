// `npm run test:nodes`: unit and mount tests on the other Nodes that layerfs supports, brought by npm; with LAYERFS_TEST_NODES=all every
// test. Arguments choose versions: `npm run test:nodes -- 22 26`. Ends with a line for each.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSIONS = ['20', '22', '24', '26'];
/** All unit tests, and of the others those that mount and start: there Nodes differ in streams, signals, threads and descriptors. */
const CHOSEN = [
  'packages/',
  'test/cli.test',
  'test/mount-',
  'test/protocol-levels',
  'test/rootless.test',
  'test/union.test',
].concat(['test/packaging/start-up']);

const top = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(top, 'node_modules/.cache/layerfs-nodes');
const own = process.versions.node.split('.')[0];
const asked = process.argv.slice(2);
const versions = asked.length > 0 ? asked : VERSIONS.filter((version) => version !== own);

/** The folder with a Node's program; undefined when npm cannot bring it. */
function bring(version) {
  const place = join(folder, version);
  const name = `node-${process.platform}-${process.arch}`;
  const bin = join(place, 'node_modules', name, 'bin');
  if (existsSync(join(bin, 'node'))) return bin;
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'package.json'), '{ "private": true }\n');
  const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', `${name}@${version}`];
  const { status, stderr } = spawnSync('npm', args, { cwd: place, encoding: 'utf8' });
  if (status === 0) return bin;
  console.error(stderr.trim());
  return undefined;
}

const results = [];
for (const version of versions) {
  const bin = bring(version);
  if (bin === undefined) {
    results.push(`Node ${version}: skipped: npm cannot bring it`);
    continue;
  }
  const { stdout } = spawnSync(join(bin, 'node'), ['--version'], { encoding: 'utf8' });
  console.log(`\nNode ${stdout.trim()}`);
  const tests = process.env.LAYERFS_TEST_NODES === 'all' ? [] : CHOSEN;
  const { status } = spawnSync(join(bin, 'node'), [join(top, 'scripts/test.mjs'), ...tests], {
    cwd: top,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` },
  });
  results.push(`Node ${stdout.trim()}: ${status === 0 ? 'passed' : 'FAILED'}`);
  if (status !== 0) process.exitCode = 1;
}
console.log(`\n${results.join('\n')}`);
