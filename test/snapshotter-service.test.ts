/** The service around the snapshotter, as those who run it see it: sockets, numbers, files, starting and stopping. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from './images/oci.js';
import { need } from './support/needs.js';
import { Service } from './support/service.js';

let folder: string;
const services: Service[] = [];

beforeEach(() => {
  // Paths of sockets are short.
  folder = mkdtempSync(join(tmpdir(), 'layerfs-s-'));
});
afterEach(async () => {
  for (const service of services.splice(0)) await service.stop('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

async function start(...options: string[]): Promise<Service> {
  const service = new Service(join(folder, 'store'), join(folder, 's'), options);
  services.push(service);
  await service.start();
  return service;
}

/** What its first line in the log says. */
function serving({ log }: Service): Record<string, string> {
  const line = log.split('\n').find((each) => each.includes('"msg":"serving"')) ?? '{}';
  return JSON.parse(line) as Record<string, string>;
}

test('curl gets the numbers of a service that has --metrics; without it there are none', async (context) => {
  need(context, 'curl');
  const service = await start('--metrics', ':0');
  const { metrics } = serving(service);
  expect(metrics).toMatch(/^127\.0\.0\.1:\d+$/);
  const { stdout } = await run('curl', [
    '--silent',
    '--show-error',
    '--fail',
    '--noproxy',
    '*',
    `http://${metrics}/metrics`,
  ]);
  for (const line of [
    'layerfs_snapshotter_snapshots{kind="active"} 0',
    'layerfs_store_objects 0',
    'layerfs_store_dedup_saved_bytes 0',
  ]) {
    expect(stdout.split('\n')).toContain(line);
  }
  expect(stdout).toMatch(/^layerfs_build_info\{version="\d+\.\d+\.\d+"\} 1$/m);
  expect(await service.stop()).toBe(0);
  expect(serving(await start())['metrics']).toBeUndefined();
});
