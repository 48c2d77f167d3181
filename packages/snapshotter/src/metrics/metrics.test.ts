import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestClient } from '../grpc/client.test-support.js';
import { serve, type Service } from '../grpc/server.js';
import { openSnapshotter } from '../open.js';
import type { Snapshotter } from '../snapshotter.js';
import { Metrics } from './metrics.js';
import { countMounts } from './mounts.js';
import { parseAddress, serveMetrics, type MetricsService } from './server.js';

let folder: string;
let snapshotter: Snapshotter;
let service: Service;
let numbers: MetricsService;
let client: TestClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-m-'));
  const root = join(folder, 'snapshotter');
  snapshotter = openSnapshotter({ root });
  const totals = { objects: { count: 3, bytes: 30 }, layers: { count: 2, logicalBytes: 70 }, savedByDedup: 40 };
  const metrics = new Metrics({ snapshotter, root, version: '1.2.3', totals: () => totals });
  service = await serve(snapshotter, {
    on: { path: join(folder, 's') },
    onAnswered: (request) => metrics.count(request),
  });
  numbers = await serveMetrics(metrics, ':0');
  client = new TestClient(join(folder, 's'));
});
afterEach(async () => {
  client.close();
  await service.stop(0);
  await numbers.stop();
  await snapshotter.close();
  rmSync(folder, { recursive: true, force: true });
});

const url = (): string => `http://${numbers.address}/metrics`;

test('what is asked for is counted, and told in Prometheus’s format', async () => {
  await client.call('Prepare', { key: 'a' });
  await client.call('Prepare', { key: 'b' });
  await client.call('Commit', { name: 'one', key: 'a' });
  await client.call('Stat', { key: 'none' }).catch(() => undefined);
  for await (const message of client.stream('List')) expect(message).toBeDefined();
  const response = await fetch(url());
  expect(response.headers.get('content-type')).toContain('text/plain; version=0.0.4');
  const lines = (await response.text()).split('\n');
  for (const line of [
    '# TYPE layerfs_snapshotter_requests_total counter',
    'layerfs_snapshotter_requests_total{method="Prepare",code="OK"} 2',
    'layerfs_snapshotter_requests_total{method="Commit",code="OK"} 1',
    'layerfs_snapshotter_requests_total{method="Stat",code="NOT_FOUND"} 1',
    'layerfs_snapshotter_requests_total{method="List",code="OK"} 1',
    '# TYPE layerfs_snapshotter_request_duration_seconds histogram',
    'layerfs_snapshotter_request_duration_seconds_count{method="Prepare"} 2',
    'layerfs_snapshotter_request_duration_seconds_bucket{le="+Inf",method="Stat"} 1',
    'layerfs_snapshotter_snapshots{kind="active"} 1',
    'layerfs_snapshotter_snapshots{kind="view"} 0',
    'layerfs_snapshotter_snapshots{kind="committed"} 1',
    'layerfs_snapshotter_mounts{type="overlay"} 0',
    'layerfs_store_objects 3',
    'layerfs_store_object_bytes 30',
    'layerfs_store_dedup_saved_bytes 40',
    'layerfs_build_info{version="1.2.3"} 1',
  ]) {
    expect(lines).toContain(line);
  }
  expect(lines.some((line) => /^process_resident_memory_bytes \d+/.test(line))).toBe(true);
});

test('names are as Prometheus wants them: counters end in _total, each has a type and a help', async () => {
  const text = await (await fetch(url())).text();
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
    expect(text).toMatch(new RegExp(`^# HELP ${name} \\S`, 'm'));
    if (name.startsWith('layerfs')) expect(name.endsWith('_total')).toBe(type === 'counter');
  }
});

test('only /metrics is there, only to be read, and on the loopback interface', async () => {
  expect(numbers.address).toMatch(/^127\.0\.0\.1:\d+$/);
  expect((await fetch(`http://${numbers.address}/`)).status).toBe(404);
  expect((await fetch(url(), { method: 'POST', body: 'x' })).status).toBe(405);
});

test.each([
  ['9100', '127.0.0.1', 9100],
  [':9100', '127.0.0.1', 9100],
  ['0.0.0.0:9100', '0.0.0.0', 9100],
  ['[::1]:9100', '::1', 9100],
  ['localhost:0', 'localhost', 0],
])('the address %s', (address, host, port) => {
  expect(parseAddress(address)).toEqual({ host, port });
});

test.each(['', 'host', 'a:b', ':65536', '::1:9100', '[x]:1', 'http://127.0.0.1:9100'])(
  '%j is no address',
  (address) => {
    expect(() => parseAddress(address)).toThrow('is no address such as 127.0.0.1:9100');
  },
);

test('a port that is taken is an error that says so', async () => {
  const metrics = new Metrics({ snapshotter, root: folder, version: '' });
  await expect(serveMetrics(metrics, numbers.address)).rejects.toMatchObject({ code: 'unavailable' });
});

test('mounts are counted by type', () => {
  const mountinfo = [
    '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw',
    '40 22 0:50 / /run/x/rootfs rw - overlay overlay rw,lowerdir=/s/snapshots/1/fs,upperdir=/s/snapshots/2/fs,workdir=/s/snapshots/2/work',
    '41 22 0:51 / /run/y/rootfs rw - overlay overlay rw,lowerdir=/other/1,upperdir=/other/2,workdir=/other/3',
    '42 22 0:52 / /s/lowers/a\\040b ro shared:2 - erofs /dev/loop0 ro',
    '43 22 0:53 / /sother ro - erofs /dev/loop1 ro',
    '',
  ].join('\n');
  expect([...countMounts(mountinfo, '/s')]).toEqual([
    ['overlay', 1],
    ['erofs', 1],
  ]);
});
