// `npm run setup`: installs the pinned pnpm's packages and builds, on a machine with nothing but Node and npm.
// Quick when nothing changed: what was installed is remembered by a hash of the files that decide it.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(top, 'node_modules/.cache/layerfs-setup');

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 12)) {
  console.error(`setup: layerfs needs Node 20.12 or later, this is ${process.versions.node}`);
  process.exit(1);
}

function run(what, command, args, env = {}) {
  const started = Date.now();
  console.log(`setup: ${what} …`);
  const result = spawnSync(command, args, {
    cwd: top,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (result.error !== undefined || result.status !== 0) {
    process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
    console.error(`setup: ${what} failed (${result.error?.message ?? `exit code ${result.status}`})`);
    process.exit(1);
  }
  console.log(`setup: ${what} done in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

/** What decides which packages are installed. */
function installHash() {
  const hash = createHash('sha256').update(process.version);
  const packages = readdirSync(join(top, 'packages')).map((name) => `packages/${name}/package.json`);
  const files = ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml', 'bench/package.json', 'test/package.json'];
  for (const file of [...files, ...packages.sort()]) {
    if (existsSync(join(top, file))) hash.update(`${file}\n`).update(readFileSync(join(top, file)));
  }
  return hash.digest('hex');
}

const wanted = installHash();
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
  const { packageManager } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8'));
  run('installing packages', 'npx', ['-y', packageManager, 'install', '--frozen-lockfile'], { CI: 'true' });
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, wanted);
}
// tsc -b looks itself for what changed; it takes half a second when nothing did.
run('building', process.execPath, [join(top, 'node_modules/typescript/bin/tsc'), '-b']);
run('bundling', process.execPath, [join(top, 'scripts/bundle.mjs')]);
