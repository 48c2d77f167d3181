/** Clients that make mistakes, and clients that mean harm. */
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSnapshotter } from '../open.js';
import type { Snapshotter } from '../snapshotter.js';
import { TestClient } from './client.test-support.js';
import { serve, type Answered, type Service } from './server.js';

let folder: string;
let socket: string;
let snapshotter: Snapshotter;
let service: Service;
let client: TestClient;
let answered: Answered[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-h-'));
  socket = join(folder, 's');
  answered = [];
  snapshotter = openSnapshotter({ root: join(folder, 'snapshotter') });
  service = await serve(snapshotter, { on: { path: socket }, onAnswered: (request) => answered.push(request) });
  client = new TestClient(socket);
});
afterEach(async () => {
  client.close();
  await service.stop(0);
  await snapshotter.close();
  rmSync(folder, { recursive: true, force: true });
});

async function names(): Promise<string[]> {
  const found: string[] = [];
  for await (const { info } of client.stream('List')) {
    for (const { name } of info as { name: string }[]) found.push(name);
  }
  return found.sort();
}

const SERVING = { status: 'SERVING' };
const works = (): Promise<unknown> => client.call('check');

test.each([
  ['Prepare', { key: 'new', parent: 'none' }, status.NOT_FOUND, 'There is no parent "none"'],
  ['Prepare', { key: 'new', parent: 'active' }, status.INVALID_ARGUMENT, 'The parent "active" is not committed'],
  ['Prepare', { key: 'active' }, status.ALREADY_EXISTS, 'There is a snapshot "active" already'],
  ['Prepare', { key: 'done' }, status.ALREADY_EXISTS, 'There is a snapshot "done" already'],
  ['View', { key: 'view' }, status.ALREADY_EXISTS, 'There is a snapshot "view" already'],
  ['Prepare', { key: '' }, status.INVALID_ARGUMENT, 'The key is empty'],
  ['Prepare', {}, status.INVALID_ARGUMENT, 'The key is empty'],
  ['Prepare', { key: 'k'.repeat(65_537) }, status.INVALID_ARGUMENT, 'has more than 65536 bytes'],
  ['Prepare', { key: 'new', parent: 'p'.repeat(65_537) }, status.INVALID_ARGUMENT, 'has more than 65536 bytes'],
  ['Prepare', { key: 'new', labels: { l: 'x'.repeat(4096) } }, status.INVALID_ARGUMENT, 'The label "l…" has more than'],
  ['Mounts', { key: 'done' }, status.FAILED_PRECONDITION, 'Snapshot "done" is committed'],
  ['Mounts', { key: 'none' }, status.NOT_FOUND, 'There is no snapshot "none"'],
  ['Commit', { name: 'other', key: 'view' }, status.FAILED_PRECONDITION, 'Snapshot "view" is not active'],
  ['Commit', { name: 'done', key: 'active' }, status.ALREADY_EXISTS, 'There is a snapshot "done" already'],
  ['Commit', { name: '', key: 'active' }, status.INVALID_ARGUMENT, 'The name is empty'],
  ['Commit', { name: 'other', key: 'active', parent: 'none' }, status.INVALID_ARGUMENT, 'does not stand on "none"'],
  ['Remove', { key: 'done' }, status.FAILED_PRECONDITION, 'Cannot remove "done": 1 snapshots stand on it'],
  ['Remove', { key: '../../etc' }, status.NOT_FOUND, 'There is no snapshot "../../etc"'],
  ['Update', {}, status.INVALID_ARGUMENT, 'The key is empty'],
  [
    'Update',
    { info: { name: 'active' }, update_mask: { paths: ['kind'] } },
    status.INVALID_ARGUMENT,
    'The field "kind"',
  ],
  [
    'Update',
    { info: { name: 'active' }, update_mask: { paths: ['x'.repeat(500_000)] } },
    status.INVALID_ARGUMENT,
    'cannot be changed',
  ],
] as const)('%s is refused (%#)', async (method, request, code, details) => {
  await client.call('Prepare', { key: 'a' });
  await client.call('Commit', { name: 'done', key: 'a' });
  await client.call('Prepare', { key: 'active' });
  await client.call('View', { key: 'view', parent: 'done' });
  await expect(client.call(method, request)).rejects.toMatchObject({
    code,
    details: expect.stringContaining(details) as unknown,
  });
  expect(await names()).toEqual(['active', 'done', 'view']);
});

const long = (text: string): string => JSON.stringify(text.slice(0, 20));

test.each(
  ['a/b', '../../../x', ' ', 'a b\n\t', '\u0000', 'ü𝄞', '__proto__', 'toString', 'k'.repeat(65_536), '"\\$(x)'].map(
    (key) => [long(key), key],
  ),
)('the key %s is as good as any', async (_, key) => {
  const { mounts } = await client.call('Prepare', { key, labels: { [key.slice(0, 2000)]: key.slice(0, 2000) } });
  expect(mounts).toMatchObject([{ source: join(folder, 'snapshotter/snapshots/1/fs') }]);
  expect(await client.call('Mounts', { key })).toEqual({ mounts });
  expect(await names()).toEqual([key]);
  await client.call('Commit', { name: `${key.slice(1)}!`, key });
  await client.call('Remove', { key: `${key.slice(1)}!` });
  expect(await names()).toEqual([]);
});

test('a label may have 4096 bytes, and all labels together a MiB, however they come together', async () => {
  const label = (i: number): [string, string] => [`label-${String(i).padStart(4, '0')}`, 'x'.repeat(4096 - 10)];
  const labels = (from: number, to: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: to - from }, (_, i) => label(from + i)));
  await client.call('Prepare', { key: 'a', labels: labels(0, 200) });
  const update = (from: number, to: number): Promise<unknown> => {
    const added = labels(from, to);
    const paths = Object.keys(added).map((key) => `labels.${key}`);
    return client.call('Update', { info: { name: 'a', labels: added }, update_mask: { paths } });
  };
  await update(200, 256);
  await expect(update(256, 257)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  // containerd reads messages of 16 MiB: a list of such snapshots has to fit.
  for (let i = 0; i < 20; i++) await client.call('Prepare', { key: `b${i}`, labels: labels(0, 250) });
  expect(await names()).toHaveLength(21);
});

test.each(
  ['kind=', 'name~=(', 'labels."open', '==', 'kind==active parent', `name~=${'a'.repeat(5000)}`].map((filter) => [
    long(filter),
    filter,
  ]),
)('the filter %s is refused', async (_, filter) => {
  const read = async (): Promise<void> => {
    for await (const message of client.stream('List', { filters: [filter] })) expect(message).toBeUndefined();
  };
  await expect(read()).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: expect.stringMatching(/^filter "/) as unknown,
  });
});

test('a message that is too large is refused, and nothing else', async () => {
  const large = client.call('Prepare', { key: 'a', parent: 'x'.repeat(2 << 20) });
  await expect(large).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  expect(await works()).toEqual(SERVING);
});

test('garbage harms nobody else', async () => {
  const noise = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 167 + 13) % 256));
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  const frame = Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]);
  for (const bytes of [
    noise,
    Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
    Buffer.concat([preface, noise]),
    Buffer.concat([preface, settings, frame, noise]),
  ]) {
    const hostile = connect(socket);
    hostile.on('error', () => undefined);
    await new Promise((sent) => hostile.resume().write(bytes, sent));
    expect(await works()).toEqual(SERVING);
    hostile.destroy();
    expect(await works()).toEqual(SERVING);
  }
});

test('who does not speak HTTP/2, or no more, is not waited for', { timeout: 90_000 }, async () => {
  const greeting = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
  ]);
  const connections = [
    [],
    Buffer.from('PRI * HTTP/2.0\r\n'),
    greeting,
    // A frame of 16 MiB; data for a stream that was never opened; half of the headers of one.
    Buffer.concat([greeting, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
    Buffer.concat([greeting, Buffer.from([0, 1, 0, 0, 0, 0, 0, 0, 1])]),
    Buffer.concat([greeting, Buffer.from([0, 0, 5, 1, 4, 0, 0, 0, 1, 0x82, 0x86])]),
  ].map((bytes) => {
    const hostile = connect({ path: socket, allowHalfOpen: true }).on('error', () => undefined);
    hostile.resume().write(Buffer.from(bytes));
    return hostile;
  });
  const settled = connections.map((each) => new Promise((done) => each.once('end', done).once('close', done)));
  await Promise.all(settled);
  for (const each of connections) each.destroy();
  // Whoever does speak it is left alone, though it asks for nothing.
  expect(await works()).toEqual(SERVING);
});

test('calls of no known method, with a bad path or bad messages, are errors', async () => {
  const session = connectHttp2('http://localhost', { createConnection: () => connect(socket) });
  session.on('error', () => undefined);
  const call = (path: string, body: Buffer): Promise<string> =>
    new Promise((done) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      let code = '';
      stream.on('error', () => undefined);
      stream.on('response', (headers) => (code = String(headers['grpc-status'] ?? '')));
      stream.on('trailers', (headers) => (code = String(headers['grpc-status'] ?? '')));
      stream.on('close', () => done(code));
      stream.resume().end(body);
    });
  const prepare = '/containerd.services.snapshots.v1.Snapshots/Prepare';
  expect(await call('/x/y', Buffer.alloc(0))).toBe(String(status.UNIMPLEMENTED));
  // A message of 7 bytes that is no message; one that says it is longer than allowed; one that is compressed and is not.
  expect(await call(prepare, Buffer.from([0, 0, 0, 0, 7, 255, 255, 255, 255, 255, 255, 255]))).not.toBe('0');
  expect(await call(prepare, Buffer.from([0, 255, 255, 255, 255, 1]))).toBe(String(status.RESOURCE_EXHAUSTED));
  expect(await call(prepare, Buffer.from([1, 0, 0, 0, 3, 1, 2, 3]))).not.toBe('0');
  session.destroy();
  expect(await works()).toEqual(SERVING);
  expect(await names()).toEqual([]);
});

test('thousands of calls at once, and more connections than are taken', async () => {
  const calls = Array.from({ length: 3000 }, (_, i) =>
    client.call('Stat', { key: `none ${i}` }).catch((error: unknown) => error),
  );
  for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: status.NOT_FOUND });
  const sockets = Array.from({ length: 600 }, () =>
    connect(socket)
      .on('error', () => undefined)
      .resume(),
  );
  const ends = sockets.map((each) => closed(each));
  await Promise.race(ends);
  for (const each of sockets) each.destroy();
  await Promise.all(ends);
  const other = new TestClient(socket);
  await expect(other.call('check')).resolves.toEqual({ status: 'SERVING' });
  other.close();
});

test('calls that are taken back end, and nothing else', async () => {
  for (let i = 0; i < 20; i++) await client.call('Prepare', { key: `key ${i}` });
  for (let i = 0; i < 200; i++) {
    const stream = client.stream('List').on('error', () => undefined);
    stream.cancel();
  }
  expect(await works()).toEqual(SERVING);
  expect(await names()).toHaveLength(20);
});

test('the socket: its permissions, its group, and what stands in its way', async () => {
  const other = join(folder, 'o');
  const on = async (options: { path: string; mode?: number; group?: number }, check: () => void): Promise<void> => {
    const second = await serve(snapshotter, { on: options });
    try {
      check();
    } finally {
      await second.stop(0);
    }
  };
  const gid = process.getgid?.() ?? 0;
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  await on({ path: other, mode: 0o660, group: gid }, () => {
    expect(statSync(other)).toMatchObject({ gid });
    expect(statSync(other).mode & 0o777).toBe(0o660);
  });
  await expect(serve(snapshotter, { on: { path: socket } })).rejects.toMatchObject({
    code: 'failed-precondition',
    message: `${socket} is served by another process`,
  });
  expect(await works()).toEqual(SERVING);
  writeFileSync(other, 'x');
  await expect(serve(snapshotter, { on: { path: other } })).rejects.toMatchObject({
    code: 'failed-precondition',
    message: `${other} is there already and is no socket`,
  });
  rmSync(other);
  symlinkSync(socket, other);
  await expect(serve(snapshotter, { on: { path: other } })).rejects.toThrow('is no socket');
  rmSync(other);
  await expect(serve(snapshotter, { on: { path: join(folder, 'x'.repeat(108)) } })).rejects.toMatchObject({
    code: 'invalid-argument',
  });
  await stale(other);
  await on({ path: other }, () => expect(statSync(other).mode & 0o777).toBe(0o600));
});

test('a path below a file is an error that names it', async () => {
  const closedFolder = join(folder, 'closed');
  mkdirSync(closedFolder);
  writeFileSync(join(closedFolder, 'file'), '');
  await expect(serve(snapshotter, { on: { path: join(closedFolder, 'file/s') } })).rejects.toThrow(closedFolder);
});

/** A socket that nobody serves any more, as a killed process leaves it. */
async function stale(path: string): Promise<void> {
  const { spawnSync } = await import('node:child_process');
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  expect(statSync(path).isSocket()).toBe(true);
}

function closed(socket: Socket): Promise<void> {
  return new Promise((done) => {
    if (socket.destroyed) done();
    else socket.once('close', () => done());
  });
}
