/**
 * How much a command loads before it answers. Time to start is mostly modules to find, read and compile, so their count stands
 * for it: unlike time it is the same on every machine.
 */
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { run } from '../images/oci.js';
import { CLI } from '../support/cli.js';
import { Workplace } from '../support/mounted.js';

const place = new Workplace();
afterAll(() => place.remove());

/** The modules that a command loads, its threads' included, as V8 reports them. */
async function modulesOf(...args: string[]): Promise<string[]> {
  const coverage = join(place.folder, `coverage-${args.at(-1)}`);
  mkdirSync(coverage);
  await place.ok(args, { env: { NODE_V8_COVERAGE: coverage } });
  const urls = readdirSync(coverage).flatMap((name) => {
    const { result } = JSON.parse(readFileSync(join(coverage, name), 'utf8')) as { result: { url: string }[] };
    return result.map(({ url }) => url);
  });
  return [...new Set(urls)].filter((url) => url.startsWith('file:'));
}

test('help loads the command table and nothing of the library', async () => {
  const modules = await modulesOf('--help');
  expect(modules.filter((url) => url.endsWith('/cli/dist/program.js'))).toHaveLength(1);
  expect(modules.filter((url) => !/\/cli\/|\/commander\//.test(url))).toEqual([]);
  expect(modules.length).toBeLessThanOrEqual(18);
});

test('images loads what opening a store takes: nothing that mounts, merges, imports or asks registries', async () => {
  const modules = await modulesOf('images');
  expect(modules.filter((url) => url.endsWith('/layerfs/dist/store/store.js'))).toHaveLength(1);
  expect(
    modules.filter((url) => /\/layerfs\/dist\/(mount|registry)\/|\/(fuse|snapshotter)\/dist\/|\/lmdb\//.test(url)),
  ).toEqual([]);
  expect(modules.length).toBeLessThanOrEqual(85);
});

test('help that nobody reads to its end is no error', async () => {
  const script = '{ "$0" "$1" --help; echo "code $?" >&2; } | true';
  const { stderr } = await run('sh', ['-c', script, process.execPath, CLI]);
  expect(stderr).toBe('code 0\n');
});
