import { mkdtempSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSnapshotter } from '../open.js';
import type { Snapshotter } from '../snapshotter.js';
import { TestClient } from './client.test-support.js';
import { serve, type Service } from './server.js';

let folder: string;
let snapshotter: Snapshotter;
let service: Service;
let client: TestClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-g-'));
  snapshotter = openSnapshotter({ root: join(folder, 'snapshotter') });
  service = await serve(snapshotter, { on: { path: join(folder, 's') } });
  client = new TestClient(join(folder, 's'));
});
afterEach(async () => {
  client.close();
  await service.stop(0);
  await snapshotter.close();
  rmSync(folder, { recursive: true, force: true });
});

const SERVICE = 'containerd.services.snapshots.v1.Snapshots';

test('its health is told', async () => {
  expect(await client.call('check')).toEqual({ status: 'SERVING' });
  expect(await client.call('check', { service: SERVICE })).toEqual({ status: 'SERVING' });
  await expect(client.call('check', { service: 'other' })).rejects.toMatchObject({ code: status.NOT_FOUND });
});

test('who watches its health is told when it stops, and does not hold it up', async () => {
  const watch = client.stream('watch', { service: SERVICE });
  const seen: unknown[] = [];
  let stopped: Promise<void> | undefined;
  try {
    for await (const message of watch) {
      seen.push(message['status']);
      stopped ??= service.stop(600_000);
    }
  } catch (error) {
    expect(error).toMatchObject({ code: expect.any(Number) as unknown });
  }
  await stopped;
  expect(seen).toEqual(['SERVING', 'NOT_SERVING']);
  expect(existsSync(join(folder, 's'))).toBe(false);
});

test('what is under way when it stops is answered', async () => {
  await client.call('check');
  const prepared = Promise.all(Array.from({ length: 50 }, (_, i) => client.call('Prepare', { key: `key ${i}` })));
  await client.call('Stat', { key: 'key 0' }).catch(() => undefined);
  await service.stop();
  expect(await prepared).toHaveLength(50);
});
