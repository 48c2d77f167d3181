/** The service around the snapshotter, as those who run it see it: sockets, numbers, files, starting and stopping. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openStore } from '../packages/layerfs/dist/index.js';
import { imageOf, layoutOf } from '../packages/layerfs/dist/store/small-images.test-support.js';
import { oddLower } from './images/odd-lower.js';
import { run } from './images/oci.js';
import { tarOf } from './images/tar.js';
import { layerfs, type CliResult } from './support/cli.js';
import { need } from './support/needs.js';
import { connects, Service } from './support/service.js';

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

test('a service that nobody asks for anything gives memory back, and goes on', { timeout: 120_000 }, async () => {
  const service = await start();
  const fromFiles = (): number =>
    Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${service.pid}/status`, 'latin1'))?.[1]) / 1024;
  const first = fromFiles();
  expect(first).toBeGreaterThan(30);
  await expect.poll(fromFiles, { timeout: 60_000 }).toBeLessThan(first / 2);
  expect(await connects(service.socket)).toBe(true);
  expect(await service.stop()).toBe(0);
  expect(service.log).not.toContain('given back');
});

test('clients that never read what they asked for cost little memory', { timeout: 300_000 }, async () => {
  const service = await start('--quiet');
  const sessions: ClientHttp2Session[] = [];
  const open = (): ClientHttp2Session => {
    const session = connect('http://localhost', { createConnection: () => connectSocket(service.socket) });
    sessions.push(session.on('error', () => undefined));
    return session;
  };
  try {
    // 300 snapshots with 100 KiB of labels: 30 MB in a list.
    const writer = open();
    for (let i = 0; i < 300; i++) await call(writer, 'Prepare', prepareRequest(`key ${i}`, 26, 4000));
    const before = residentBytes(service.pid);
    for (let i = 0; i < 4; i++) {
      const session = open();
      for (let j = 0; j < 25; j++)
        request(session, 'List', Buffer.alloc(0))
          .on('error', () => undefined)
          .pause();
    }
    // All of them were begun when the last one's successor is answered.
    for (const session of sessions) await call(session, 'Stat', field(2, Buffer.from('key 0')));
    // Buffered whole, 100 lists would have 3 GB.
    expect(residentBytes(service.pid) - before).toBeLessThan(300 << 20);
    expect(await call(open(), 'Stat', field(2, Buffer.from('key 1')))).toBeGreaterThan(100_000);
  } finally {
    for (const session of sessions) session.destroy();
  }
  expect(await service.stop()).toBe(0);
});

test('a store of a newer version, and one that is served already, are clear errors', async () => {
  const service = await start();
  const again = (root: string): Promise<CliResult> =>
    layerfs(['snapshotter', 'serve', '--root', root, '--socket', join(folder, 't')]);
  const second = await again(service.root);
  expect(second.stderr).toContain(`${join(service.root, 'snapshotter')} is in use by another snapshotter`);
  expect(second.code).toBe(6);
  await service.stop();
  const newer = join(folder, 'newer');
  mkdirSync(newer);
  writeFileSync(join(newer, 'version'), '99\n');
  const refused = await again(newer);
  expect(refused.stderr).toContain(newer);
  expect(refused.stderr).toContain('99');
  expect(refused.code).toBe(6);
});

test('where the kernel refuses mounts, layers are checked out, and kernel mounts are a clear error', async (context) => {
  need(context, 'root', 'setpriv');
  const root = join(folder, 'store');
  const store = await openStore({ root });
  await store.import(layoutOf(join(folder, 'layout'), { latest: imageOf([tarOf(...oddLower())]) }), { name: 'app' });
  const chain = store.image('app').chainID;
  await store.close();
  // Root without the right to mount: its trial fails as it does on a kernel without overlayfs or EROFS.
  const without = (...options: string[]): Service =>
    new Service(root, join(folder, 's'), options, ['setpriv', '--bounding-set=-sys_admin']);
  const refused = without('--mount-mode', 'kernel');
  services.push(refused);
  await expect(refused.start()).rejects.toThrow(/kernel mounts do not work here: Tried and refused: .*EPERM/);
  const service = without();
  services.push(service);
  await service.start();
  const session = connect('http://localhost', { createConnection: () => connectSocket(service.socket) });
  try {
    const label = Buffer.concat([field(1, Buffer.from('containerd.io/snapshot.ref')), field(2, Buffer.from(chain))]);
    const offer = call(session, 'Prepare', Buffer.concat([field(2, Buffer.from('extract')), field(4, label)]));
    // ALREADY_EXISTS
    await expect(offer).rejects.toThrow('Prepare: 6');
    await call(session, 'Prepare', Buffer.concat([field(2, Buffer.from('container')), field(3, Buffer.from(chain))]));
  } finally {
    session.destroy();
  }
  expect(readdirSync(join(root, 'snapshotter/checkout'))).toHaveLength(1);
  expect(readdirSync(join(root, 'snapshotter/erofs'))).toEqual([]);
  expect(await service.stop()).toBe(0);
});

test('a socket that a killed service left is taken over', async () => {
  const service = await start();
  expect(await service.stop('SIGKILL')).toBe('SIGKILL');
  expect(statSync(service.socket).isSocket()).toBe(true);
  await service.start();
  expect(await service.stop()).toBe(0);
  expect(existsSync(service.socket)).toBe(false);
});

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

/** A length-delimited field of a protobuf message. */
function field(number: number, content: Uint8Array): Buffer {
  const length = [];
  for (let rest = content.length; ; rest >>>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), content]);
}

/** PrepareSnapshotRequest: key 2, labels 4. */
function prepareRequest(key: string, labels: number, length: number): Buffer {
  const entries = Array.from({ length: labels }, (_, i) =>
    field(4, Buffer.concat([field(1, Buffer.from(`label ${i}`)), field(2, Buffer.alloc(length, 'x'))])),
  );
  return Buffer.concat([field(2, Buffer.from(key)), ...entries]);
}

function request(session: ClientHttp2Session, method: string, message: Buffer): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': `/containerd.services.snapshots.v1.Snapshots/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  stream.end(Buffer.concat([header, message]));
  return stream;
}

/** @returns bytes of the answer */
function call(session: ClientHttp2Session, method: string, message: Buffer): Promise<number> {
  return new Promise((done, fail) => {
    let [bytes, code] = [0, ''];
    const stream = request(session, method, message);
    const seen = (headers: { 'grpc-status'?: string }): void => {
      code = headers['grpc-status'] ?? code;
    };
    stream.on('response', seen).on('trailers', seen).on('error', fail);
    stream.on('data', (data: Buffer) => (bytes += data.length));
    stream.on('close', () => (code === '0' ? done(bytes) : fail(new Error(`${method}: ${code}`))));
  });
}
