import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { Digest } from '../../core/digest.js';
import { Registry, type UploadOptions } from '../registry.js';
import type { Uploaded, UploadMemory } from './upload.js';

const BLOB = randomBytes(1_000_000);
const digest = `sha256:${createHash('sha256').update(BLOB).digest('hex')}` as Digest;
const CHUNK = 100_000;

interface Seen {
  readonly method: string;
  readonly range: string | undefined;
  readonly bytes: number;
}

/** A registry of one blob that keeps to the specification's word: chunks in order, or 416. */
class ChunkServer {
  host = '';
  readonly seen: Seen[] = [];
  /** Bytes of each upload. */
  readonly uploads = new Map<string, Buffer[]>();
  stored: Buffer | undefined;
  shortest: number | undefined;
  /** Answers in its place. */
  meddle: (seen: Seen, request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  /** A request is cut after so many bytes of its body, which are kept. */
  cut: ((seen: Seen) => number | undefined) | undefined;
  readonly #server: Server;
  #next = 0;

  constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  has(id: string): number {
    return (this.uploads.get(id) ?? []).reduce((sum, { length }) => sum + length, 0);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', headers } = request;
    const url = new URL(request.url ?? '', 'http://x');
    const length = Number(headers['content-length'] ?? 0);
    const seen = { method, range: headers['content-range'], bytes: length };
    if (url.pathname === '/v2/') return void response.end();
    this.seen.push(seen);
    if (this.meddle(seen, request, response)) return void request.resume();
    if (method === 'HEAD') return void response.writeHead(this.stored === undefined ? 404 : 200).end();
    if (method === 'POST') {
      const id = String(this.#next++);
      this.uploads.set(id, []);
      const wanted = this.shortest === undefined ? {} : { 'oci-chunk-min-length': String(this.shortest) };
      return void response.writeHead(202, { location: `/upload/${id}?state=0`, ...wanted }).end();
    }
    const id = url.pathname.split('/')[2] ?? '';
    const parts = this.uploads.get(id);
    if (parts === undefined) return void response.writeHead(404).end('{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}');
    const told = (): Record<string, string> => ({
      location: `/upload/${id}?state=${this.has(id)}`,
      ...(this.has(id) === 0 ? {} : { range: `0-${this.has(id) - 1}` }),
    });
    if (method === 'GET') return void response.writeHead(204, told()).end();
    if (method === 'PATCH' && !(seen.range ?? '').startsWith(`${this.has(id)}-`)) {
      request.resume();
      return void response.writeHead(416, told()).end();
    }
    const until = this.cut?.(seen);
    let got = 0;
    for await (const piece of request as AsyncIterable<Buffer>) {
      const part = until === undefined ? piece : piece.subarray(0, until - got);
      got += part.length;
      parts.push(part);
      if (got === until) return void request.destroy();
    }
    if (method === 'PATCH') return void response.writeHead(202, told()).end();
    const whole = Buffer.concat(parts);
    if (`sha256:${createHash('sha256').update(whole).digest('hex')}` !== url.searchParams.get('digest')) {
      this.uploads.delete(id);
      return void response.writeHead(400).end('{"errors":[{"code":"DIGEST_INVALID"}]}');
    }
    this.stored = whole;
    response.writeHead(201).end();
  }
}

const servers: ChunkServer[] = [];
const registries: Registry[] = [];

afterEach(async () => {
  for (const registry of registries.splice(0)) registry.close();
  for (const server of servers.splice(0)) await server.stop();
});

async function serve(): Promise<ChunkServer> {
  const server = new ChunkServer();
  servers.push(server);
  return server.start();
}

function upload(
  server: ChunkServer,
  options: UploadOptions = {},
  bytes: Buffer = BLOB,
  of = digest,
): Promise<Uploaded> {
  const registry = new Registry({
    credentials: () => Promise.resolve(undefined),
    hostFolders: [],
    retry: { first: 1, longest: 2, tries: 4 },
    environment: {},
    plainHttp: true,
  });
  registries.push(registry);
  const content = async function* (offset: number): AsyncGenerator<Uint8Array> {
    for (let at = offset; at < bytes.length; at += 33_333) yield await Promise.resolve(bytes.subarray(at, at + 33_333));
  };
  return registry.uploadBlob(`${server.host}/app`, { digest: of, size: bytes.length }, content, {
    chunk: CHUNK,
    ...options,
  });
}

const patched = (server: ChunkServer): (string | undefined)[] =>
  server.seen.filter(({ method }) => method === 'PATCH').map(({ range }) => range);

class Remembered implements UploadMemory {
  location: string | undefined;
  read(): string | undefined {
    return this.location;
  }
  write(location: string | undefined): void {
    this.location = location;
  }
}

test('a large blob goes in chunks, in order, and a small one in one piece', async () => {
  const server = await serve();
  const done: number[] = [];
  expect(await upload(server, { onProgress: (bytes) => done.push(bytes) })).toBe('uploaded');
  expect(server.stored?.equals(BLOB)).toBe(true);
  expect(patched(server)).toEqual(Array.from({ length: 10 }, (_, i) => `${i * CHUNK}-${(i + 1) * CHUNK - 1}`));
  expect(done.at(-1)).toBe(BLOB.length);
  server.stored = undefined;
  server.seen.length = 0;
  expect(await upload(server, { chunk: BLOB.length })).toBe('uploaded');
  expect(server.seen.map(({ method, bytes }) => [method, bytes])).toEqual([
    ['HEAD', 0],
    ['POST', 0],
    ['PUT', BLOB.length],
  ]);
});

test.each([
  { answer: 201, asked: ['HEAD', 'POST'] },
  { answer: 202, asked: ['HEAD', 'POST', 'PUT'] },
  { answer: 405, asked: ['HEAD', 'POST', 'POST', 'PUT'] },
  { answer: 403, asked: ['HEAD', 'POST', 'POST', 'PUT'] },
  { answer: 500, asked: ['HEAD', 'POST', 'HEAD', 'POST', 'PUT'] },
])('a blob that is small goes along with the first request: the answer is $answer', async ({ answer, asked }) => {
  const server = await serve();
  const small = BLOB.subarray(0, 2000);
  const smallDigest = `sha256:${createHash('sha256').update(small).digest('hex')}` as Digest;
  const posted: Buffer[] = [];
  server.meddle = ({ method, bytes }, request, response) => {
    if (method !== 'POST' || bytes === 0) return false;
    expect(new URL(request.url ?? '', 'http://x').searchParams.get('digest')).toBe(smallDigest);
    request.on('data', (piece: Buffer) => posted.push(piece));
    if (answer === 202) {
      server.uploads.set('small', []);
      response.setHeader('location', '/upload/small');
    }
    response.writeHead(answer).end();
    return true;
  };
  expect(await upload(server, {}, small, smallDigest)).toBe('uploaded');
  expect(server.seen.map(({ method }) => method)).toEqual(asked);
  expect((answer === 201 ? Buffer.concat(posted) : server.stored)?.equals(small)).toBe(true);
});

test('the server’s shortest chunk is kept to; one that is too long for memory means one piece', async () => {
  const server = await serve();
  server.shortest = 400_000;
  await upload(server);
  expect(patched(server)).toEqual(['0-399999', '400000-799999', '800000-999999']);
  server.stored = undefined;
  server.seen.length = 0;
  server.shortest = 2 ** 40;
  await upload(server);
  expect(patched(server)).toEqual([]);
  expect((server.stored as Buffer | undefined)?.equals(BLOB)).toBe(true);
});

test('a connection that breaks in every second chunk: what the server has is not sent again', async () => {
  const server = await serve();
  let count = 0;
  server.cut = ({ method }) => (method === 'PATCH' && count++ % 2 === 0 ? 70_000 : undefined);
  expect(await upload(server)).toBe('uploaded');
  expect(server.stored?.equals(BLOB)).toBe(true);
  expect(server.uploads.size).toBe(1);
  const starts = patched(server).map((range) => Number(range?.split('-')[0]));
  expect(new Set(starts).size).toBe(starts.length);
});

test('416 tells where to go on', async () => {
  const server = await serve();
  let lost = 0;
  server.meddle = ({ method, range }) => {
    // It lost the end of what it had taken.
    if (method === 'PATCH' && range === '500000-599999' && lost++ === 0) {
      server.uploads.set('0', [Buffer.concat(server.uploads.get('0') ?? []).subarray(0, 450_000)]);
    }
    return false;
  };
  expect(await upload(server)).toBe('uploaded');
  expect(patched(server).slice(5, 7)).toEqual(['500000-599999', '450000-549999']);
  expect(server.stored?.equals(BLOB)).toBe(true);
});

test('a later process goes on from what the server has; where that is gone it begins again', async () => {
  const server = await serve();
  const memory = new Remembered();
  const stop = new AbortController();
  server.cut = ({ range }) => {
    if (range?.startsWith('600000-') !== true) return undefined;
    stop.abort();
    return 40_000;
  };
  await expect(upload(server, { memory, signal: stop.signal })).rejects.toMatchObject({ code: 'aborted' });
  server.cut = undefined;
  expect(memory.location).toContain('/upload/0');
  const has = server.has('0');
  expect(has).toBeGreaterThanOrEqual(600_000);
  expect(has).toBeLessThanOrEqual(640_000);
  server.seen.length = 0;
  expect(await upload(server, { memory })).toBe('uploaded');
  expect(memory.location).toBeUndefined();
  expect(patched(server)[0]).toMatch(new RegExp(`^${has}-`));
  expect(server.stored?.equals(BLOB)).toBe(true);
  for (const gone of [`http://${server.host}/upload/none`, 'no address']) {
    server.stored = undefined;
    memory.location = gone;
    expect(await upload(server, { memory })).toBe('uploaded');
    expect((server.stored as Buffer | undefined)?.equals(BLOB)).toBe(true);
  }
});

test('what an earlier process sent was wrong: all of it is sent again', async () => {
  const server = await serve();
  server.uploads.set('old', [Buffer.alloc(300_000)]);
  const memory = new Remembered();
  memory.location = `http://${server.host}/upload/old`;
  expect(await upload(server, { memory })).toBe('uploaded');
  expect(patched(server)[0]).toBe('300000-399999');
  expect(server.stored?.equals(BLOB)).toBe(true);
});

test.each([404, 405, 501])('a server that answers a chunk with %i', async (status) => {
  const server = await serve();
  server.meddle = ({ method }, _, response) => {
    if (method !== 'PATCH') return false;
    response.writeHead(status).end();
    return true;
  };
  const uploading = upload(server);
  if (status === 404) await expect(uploading).rejects.toMatchObject({ code: 'unavailable' });
  else {
    expect(await uploading).toBe('uploaded');
    expect(server.seen.at(-1)).toMatchObject({ method: 'PUT', bytes: BLOB.length });
  }
});

test('content that is not the digest’s is refused, and not sent for ever', async () => {
  const server = await serve();
  await expect(upload(server, {}, Buffer.alloc(BLOB.length))).rejects.toMatchObject({ code: 'invalid-argument' });
  expect(server.seen.length).toBeLessThan(60);
  await expect(upload(server, { chunk: 2_000_000 }, Buffer.alloc(10))).rejects.toMatchObject({
    code: 'invalid-argument',
  });
});

test('a server that forgets each upload ends it', async () => {
  const server = await serve();
  server.meddle = ({ method, range }) => {
    if (method === 'PATCH' && range?.startsWith('300000-') === true) server.uploads.clear();
    return false;
  };
  await expect(upload(server)).rejects.toMatchObject({ code: 'unavailable' });
});
