/** containerd's own test suite for snapshotters, in Go, against our service. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createHash } from 'node:crypto';
import { afterAll, expect, test } from 'vitest';
import { cached } from './images/cache.js';
import { CLI } from './support/cli.js';
import { need } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';

const SOURCES = '/usr/share/gocode';
const SUITE = fileURLToPath(new URL('./containerd-suite', import.meta.url));

/** Ways to keep and show layers. Sealed at once, what the suite looks at is what layers of the store show. */
const MODES = [
  ['shown by the kernel', '--seal commit --mount-mode kernel', ''],
  ['shown by FUSE', '--seal commit --mount-mode fuse', ''],
  ['shown by the kernel, through containerd', '--seal commit --mount-mode kernel', 'containerd'],
  ['checked out', '--seal commit --mount-mode folder', ''],
  ['never sealed', '--seal never', ''],
] as const;

let folder: string | undefined;
afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

test.for(MODES)(
  'every case of containerd’s snapshotter suite passes: %s',
  { timeout: 900_000 },
  async ([, options, through], context) => {
    need(context, 'root', 'go', ...(through === '' ? [] : [through]));
    if (!existsSync(join(SOURCES, 'src/github.com/containerd/containerd/snapshots/testsuite'))) {
      const reason =
        'needs golang-github-containerd-containerd-dev (apt install golang-github-containerd-containerd-dev)';
      console.warn(`skipped: ${reason}`);
      context.skip(reason);
    }
    folder ??= scratchFolder('layerfs-suite-');
    const program = await build(folder);
    const result = spawnSync(program, ['-test.v', '-test.timeout', '600s', '-test.parallel', '4'], {
      encoding: 'utf8',
      cwd: folder,
      env: {
        ...process.env,
        TMPDIR: folder,
        LAYERFS: `${process.execPath} ${CLI} snapshotter serve ${options}`,
        CONTAINERD: through,
      },
      maxBuffer: 64 << 20,
    });
    const cases = [...result.stdout.matchAll(/^\s+--- (PASS|FAIL|SKIP): TestSuite\/(\S+)/gm)];
    const failed = cases.filter(([, outcome]) => outcome === 'FAIL').map(([, , name]) => name);
    expect(failed.length === 0 ? '' : `${failed.join(', ')}\n${result.stdout}\n${result.stderr}`).toBe('');
    // The suite of containerd 1.6 leaves Rename out itself.
    expect(cases.filter(([, outcome]) => outcome === 'SKIP').map(([, , name]) => name)).toEqual(['Rename']);
    expect(cases.length).toBeGreaterThanOrEqual(21);
    expect(result.status).toBe(0);
  },
);

/** Compiles the suite, once for each version of our driver and of containerd's sources. */
function build(scratch: string): Promise<string> {
  const key = createHash('sha256')
    .update(readFileSync(join(SUITE, 'suite_test.go')))
    .update(readFileSync(join(SOURCES, 'src/github.com/containerd/containerd/snapshots/testsuite/testsuite.go')))
    .digest('hex');
  return cached(`containerd-suite/${key.slice(0, 16)}`, (program) => {
    const path = join(scratch, 'go');
    mkdirSync(join(path, 'src'), { recursive: true });
    symlinkSync(SUITE, join(path, 'src/suite'));
    const result = spawnSync('go', ['test', '-c', '-o', program, '.'], {
      cwd: join(path, 'src/suite'),
      encoding: 'utf8',
      env: { ...process.env, GO111MODULE: 'off', GOPATH: `${path}:${SOURCES}`, GOCACHE: join(scratch, 'cache') },
    });
    if (result.status !== 0) return Promise.reject(new Error(`go test -c: ${result.stdout}${result.stderr}`));
    return Promise.resolve();
  });
}
