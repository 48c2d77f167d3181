// `npm test`: runs vitest, says what was skipped and why, checks that nothing was left behind, and ends with one line
// `N passed, N failed, N skipped`. Arguments are passed on to vitest.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = dirname(dirname(fileURLToPath(import.meta.url)));

/** What a test run must not leave behind: our mounts, servers and temporary folders. */
function traces() {
  const found = new Set();
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [, mountpoint, type] = line.split(' ');
    if (type?.startsWith('fuse.layerfs') || /\/layerfs-[^/]*(\/|$)/.test(mountpoint ?? ''))
      found.add(`mount ${mountpoint}`);
  }
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let command;
    try {
      command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    } catch (error) {
      // The process ended, or belongs to somebody else.
      if (error.code === 'ENOENT' || error.code === 'ESRCH' || error.code === 'EACCES') continue;
      throw error;
    }
    if (command.some((word) => /packages\/layerfs\/dist\/mount\//.test(word)))
      found.add(`process ${pid}: ${command.join(' ').trim()}`);
  }
  for (const name of readdirSync(tmpdir()))
    if (name.startsWith('layerfs-')) found.add(`folder ${join(tmpdir(), name)}`);
  return found;
}

const before = traces();
const work = mkdtempSync(join(tmpdir(), 'layerfs-report-'));
const report = join(work, 'report.json');
const vitest = join(top, 'node_modules/vitest/vitest.mjs');
const child = spawn(
  process.execPath,
  [vitest, 'run', '--reporter=default', `--reporter=${join(top, 'scripts/reporter.mjs')}`, ...process.argv.slice(2)],
  { cwd: top, stdio: 'inherit', env: { ...process.env, LAYERFS_TEST_REPORT: report } },
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
rmSync(work, { recursive: true, force: true });
if (skipped.length > 0) console.log(['\nSkipped here:', ...skipped].join('\n  '));
for (const trace of traces()) {
  if (before.has(trace)) continue;
  counts.failed++;
  problems.push(`left behind: ${trace}`);
}
if (problems.length > 0) console.log(`\n${problems.join('\n')}`);
if (status !== 0 && counts.failed === 0) counts.failed = 1;
console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${skipped.length} skipped`);
process.exit(counts.failed > 0 ? 1 : 0);
