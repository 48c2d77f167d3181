/**
 * How much a command loads before it answers. Time to start is mostly files to find, read and compile, so their count and size
 * stand for it: unlike time they are the same on every machine.
 */
import { mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { run } from '../images/oci.js';
import { CLI } from '../support/cli.js';
import { Workplace } from '../support/mounted.js';

const place = new Workplace();
afterAll(() => place.remove());

/** The files that a command loads, its threads' included, as V8 reports them. */
async function filesOf(...args: string[]): Promise<string[]> {
  const coverage = join(place.folder, `coverage-${args.at(-1)}`);
  mkdirSync(coverage);
  await place.ok(args, { env: { NODE_V8_COVERAGE: coverage } });
  const urls = readdirSync(coverage).flatMap((name) => {
    const { result } = JSON.parse(readFileSync(join(coverage, name), 'utf8')) as { result: { url: string }[] };
    return result.map(({ url }) => url);
  });
  return [...new Set(urls)].filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
}

const kilobytes = (files: readonly string[]): number =>
  files.reduce((sum, file) => sum + statSync(file).size, 0) / 1024;

test('help loads the command table and nothing of the library', async () => {
  const files = await filesOf('--help');
  expect(files.map((file) => basename(file)).sort()).toEqual([
    'layerfs-rolldown-runtime.js',
    'layerfs-start.js',
    'layerfs.js',
    'layerfs.js',
  ]);
  expect(kilobytes(files)).toBeLessThan(110);
});

test('images loads what opening a store takes: nothing that mounts, merges, imports or asks registries', async () => {
  const files = await filesOf('images');
  const text = files.map((file) => readFileSync(file, 'utf8')).join('');
  expect(text).toContain('function openStore(');
  for (const name of ['mount', 'importImages', 'pullImages', 'writeMergedTree']) {
    expect(text).not.toMatch(new RegExp(`function ${name}\\(`));
  }
  expect(files.filter((file) => file.includes('/lmdb/'))).toEqual([]);
  // Koffi and SQLite are 12 of them.
  expect(files.length).toBeLessThanOrEqual(40);
  expect(kilobytes(files)).toBeLessThan(420);
});

test('help that nobody reads to its end is no error', async () => {
  const script = '{ "$0" "$1" --help; echo "code $?" >&2; } | true';
  const { stderr } = await run('sh', ['-c', script, process.execPath, CLI]);
  expect(stderr).toBe('code 0\n');
});
