// `npm test`: runs vitest, says what was skipped and why, checks that nothing was left behind, and ends with one line
// `N passed, N failed, N skipped`. Arguments are passed on to vitest.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOMY = 6 * 1024 ** 3;
const top = dirname(dirname(fileURLToPath(import.meta.url)));

/** A temporary folder of this run: whatever is in it at the end was left behind. */
function runFolder(base) {
  const folder = mkdtempSync(join(base, 'layerfs-run-'));
  // Some tests, run as root, act as another user.
  chmodSync(folder, 0o1777);
  return folder;
}

function isRoomy(folder) {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize > ROOMY;
  } catch (error) {
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}

const temporary = runFolder(tmpdir());
// Thousands of small files are made and deleted, which memory does faster; who sets TMPDIR wants them there.
const memory = process.env.TMPDIR === undefined && isRoomy('/dev/shm') ? runFolder('/dev/shm') : undefined;
const folders = memory === undefined ? [temporary] : [temporary, memory];
const report = join(temporary, 'report.json');

function mountsLeft() {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => folders.some((folder) => path.startsWith(`${folder}/`)))
    .toReversed();
}

/** Processes that inherited this run's environment, other than this one. */
function processesLeft() {
  const found = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      if (!environment.includes(`LAYERFS_TEST_REPORT=${report}`)) continue;
      found.push({ pid, command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim() });
    } catch (error) {
      // It has ended, or belongs to somebody else.
      if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(error.code)) throw error;
    }
  }
  return found.filter(({ command }) => command !== '');
}

/** Names what the tests left behind, and takes it away. */
function cleanUp() {
  const traces = [];
  for (const mountpoint of mountsLeft()) {
    traces.push(`mount ${mountpoint}`);
    if (spawnSync('umount', ['-l', mountpoint]).status !== 0) spawnSync('fusermount3', ['-u', '-z', mountpoint]);
  }
  for (const { pid, command } of processesLeft()) {
    traces.push(`process ${pid}: ${command}`);
    process.kill(Number(pid), 'SIGKILL');
  }
  for (const folder of folders) {
    for (const name of readdirSync(folder)) {
      if (name.startsWith('layerfs-')) traces.push(`folder ${join(folder, name)}`);
    }
    rmSync(folder, { recursive: true, force: true });
  }
  return traces;
}

const child = spawn(
  process.execPath,
  [
    join(top, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    `--reporter=${join(top, 'scripts/reporter.mjs')}`,
    ...process.argv.slice(2),
  ],
  {
    cwd: top,
    stdio: 'inherit',
    env: {
      ...process.env,
      LAYERFS_TEST_REPORT: report,
      TMPDIR: temporary,
      ...(memory === undefined ? {} : { LAYERFS_TEST_MEMORY: memory }),
    },
  },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
const status = await new Promise((resolve, reject) => {
  child.on('error', reject);
  child.on('close', (code) => resolve(code ?? 1));
});

let counts = { passed: 0, failed: 0, skipped: [], problems: [] };
try {
  counts = JSON.parse(readFileSync(report, 'utf8'));
} catch (error) {
  counts.problems.push(`no report of the test run: ${error.message}`);
}
const { skipped, problems } = counts;
if (skipped.length > 0) console.log(['\nSkipped here:', ...skipped].join('\n  '));
for (const trace of cleanUp()) {
  counts.failed++;
  problems.push(`left behind: ${trace}`);
}
if (problems.length > 0) console.log(`\n${problems.join('\n')}`);
if (status !== 0 && counts.failed === 0) counts.failed = 1;
console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${skipped.length} skipped`);
process.exit(counts.failed > 0 ? 1 : 0);
