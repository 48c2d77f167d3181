import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import type { Digest } from '../core/digest.js';
import { Registry, type RegistryOptions } from './registry.js';

const servers: Server[] = [];
const registries: Registry[] = [];

afterEach(async () => {
  for (const registry of registries.splice(0)) registry.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

async function serve(handler: Handler, host = '127.0.0.1'): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return `${host}:${(server.address() as AddressInfo).port}`;
}

function client(options: RegistryOptions = {}): Registry {
  const registry = new Registry({
    credentials: () => Promise.resolve(undefined),
    hostFolders: [],
    retry: { first: 1, longest: 2, tries: 4 },
    environment: {},
    ...options,
  });
  registries.push(registry);
  return registry;
}

const digestOf = (bytes: Uint8Array): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
const BLOB = randomBytes(1 << 20);
const blob = { digest: digestOf(BLOB), size: BLOB.length };

async function all(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return Buffer.concat(parts);
}

/** Answers a request for the blob, as a server that knows ranges; `change` may spoil it. */
function giveBlob(
  { headers }: IncomingMessage,
  response: ServerResponse,
  change: { until?: number; bytes?: Buffer; whole?: boolean; length?: number } = {},
): void {
  const bytes = change.bytes ?? BLOB;
  const from = change.whole === true ? 0 : Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
  const range = from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {};
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': change.length ?? bytes.length - from, ...range });
  if (change.until === undefined) response.end(bytes.subarray(from));
  else response.write(bytes.subarray(from, change.until), () => response.destroy());
}

test('a blob whose connection breaks at every tenth is put together by ranges, and each byte comes once', async () => {
  const ranges: (string | undefined)[] = [];
  const host = await serve((request, response) => {
    if (request.url === '/v2/') return response.end();
    ranges.push(request.headers.range);
    const tenth = Math.ceil(BLOB.length / 10);
    return giveBlob(request, response, ranges.length > 9 ? {} : { until: tenth * ranges.length });
  });
  let fetched = 0;
  const bytes = await all(client().blob(`${host}/app`, blob, { onFetched: (count) => (fetched += count) }));
  expect(bytes.equals(BLOB)).toBe(true);
  expect(ranges.length).toBe(10);
  expect(new Set(ranges).size).toBe(10);
  expect(fetched).toBe(BLOB.length);
});

test('a server that answers a range with all of the blob', async () => {
  let asked = 0;
  const host = await serve((request, response) =>
    giveBlob(request, response, asked++ === 0 ? { until: 300_000 } : { whole: true }),
  );
  expect((await all(client({ plainHttp: true }).blob(`${host}/app`, blob))).equals(BLOB)).toBe(true);
});

test.each([
  ['wrong bytes', { bytes: Buffer.alloc(BLOB.length) }, /damaged/],
  ['too few', { bytes: BLOB.subarray(0, -1) }, /announced/],
  ['too many', { bytes: Buffer.concat([BLOB, BLOB]) }, /announced/],
])('%s are an error', async (_, change, message) => {
  const host = await serve((request, response) => giveBlob(request, response, change));
  const reading = all(client({ plainHttp: true }).blob(`${host}/app`, blob));
  await expect(reading).rejects.toMatchObject({ name: 'LayerfsError', code: 'corrupt' });
  await expect(reading).rejects.toThrow(message);
});

test('what passes is tried again, as late as the server asks; what does not pass is told', async () => {
  const answers = [503, 429, 200];
  const host = await serve((request, response) => {
    const status = request.url === '/v2/app/blobs/' + blob.digest ? (answers.shift() ?? 500) : 404;
    if (status === 200) return giveBlob(request, response);
    response.writeHead(status, { 'retry-after': '0' }).end('{"errors":[{"code":"X","message":"because"}]}');
  });
  const registry = client({ plainHttp: true });
  expect((await all(registry.blob(`${host}/app`, blob))).equals(BLOB)).toBe(true);
  await expect(all(registry.blob(`${host}/app`, blob))).rejects.toMatchObject({ code: 'unavailable' });
  await expect(registry.manifest(`${host}/app:1`)).rejects.toMatchObject({ code: 'not-found' });
  await expect(registry.manifest(`${host}/app:1`)).rejects.toThrow('X, because');
});

test('a stalled connection is given up, and gone on with', async () => {
  let asked = 0;
  const host = await serve((request, response) => {
    if (asked++ > 0) return giveBlob(request, response);
    response.writeHead(200, { 'content-length': BLOB.length }).write(BLOB.subarray(0, 1000));
  });
  const registry = client({ plainHttp: true, idle: 200 });
  expect((await all(registry.blob(`${host}/app`, blob))).equals(BLOB)).toBe(true);
});

const MANIFEST = Buffer.from('{"schemaVersion":2,"manifests":[]}');

test.each([
  ['a web page', { 'content-type': 'text/html' }, Buffer.from('<html>'), 'invalid-argument'],
  ['more than is accepted', {}, Buffer.alloc(5 << 20, 0x20), 'resource-exhausted'],
  ['another digest than it says', { 'docker-content-digest': digestOf(BLOB) }, MANIFEST, 'corrupt'],
  ['no JSON', {}, Buffer.from('nothing'), 'invalid-argument'],
  ['index and manifest at once', {}, Buffer.from('{"manifests":[],"layers":[]}'), 'invalid-argument'],
])('a manifest that is %s is refused', async (_, headers, bytes, code) => {
  const host = await serve((_, response) => response.writeHead(200, headers as Record<string, string>).end(bytes));
  await expect(client({ plainHttp: true }).manifest(`${host}/app`)).rejects.toMatchObject({ code });
});

test('an endless manifest is not read to memory', async () => {
  const host = await serve((_, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(65536, 0x20)));
    };
    response.writeHead(200).on('drain', more);
    more();
  });
  await expect(client({ plainHttp: true }).manifest(`${host}/app`)).rejects.toMatchObject({
    code: 'resource-exhausted',
  });
});

test('credentials do not follow a redirect to another host, and no message shows them', async () => {
  const seen: Record<string, string | undefined> = {};
  const storage = await serve((request, response) => {
    seen['storage'] = request.headers.authorization;
    giveBlob(request, response);
  });
  const host = await serve((request, response) => {
    if (request.headers.authorization === undefined) {
      return response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    }
    seen['registry'] = request.headers.authorization;
    if (request.url?.includes('/blobs/') === true) {
      return response.writeHead(307, { location: `http://${storage}/x?signature=secret-query` }).end();
    }
    return response.writeHead(403).end();
  });
  const credentials = { username: 'user', password: 'secret-word' };
  const registry = client({ plainHttp: true, credentials: () => Promise.resolve(credentials) });
  expect((await all(registry.blob(`${host}/app`, blob))).equals(BLOB)).toBe(true);
  expect(seen).toEqual({
    registry: `Basic ${Buffer.from('user:secret-word').toString('base64')}`,
    storage: undefined,
  });
  await expect(registry.manifest(`${host}/app`)).rejects.toMatchObject({ code: 'permission-denied' });
  await expect(registry.manifest(`${host}/app`)).rejects.not.toThrow(/secret/);
});

test('tokens: got for the scope, renewed when they expire in the middle, given up when they never do', async () => {
  let [valid, given] = ['', 0];
  const asked: string[] = [];
  const host = await serve((request, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    if (url.pathname === '/token') {
      asked.push(`${request.headers.authorization ?? ''} ${url.search}`);
      valid = url.searchParams.get('scope') === 'repository:closed:pull' ? 'none' : `t${++given}`;
      return response.end(JSON.stringify({ token: valid === 'none' ? 'other' : valid, expires_in: 300 }));
    }
    if (request.headers.authorization !== `Bearer ${valid}`) {
      const challenge = `Bearer realm="http://${host}/token",service="s",scope="repository:app:pull"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    // The connection breaks, and the token ends with it.
    if (given === 1) valid = '';
    return giveBlob(request, response, given === 1 ? { until: 500_000 } : {});
  });
  const credentials = { username: 'u', password: 'p' };
  const registry = client({ plainHttp: true, credentials: () => Promise.resolve(credentials) });
  expect((await all(registry.blob(`${host}/app`, blob))).equals(BLOB)).toBe(true);
  expect(given).toBe(2);
  expect(asked[0]).toBe(`Basic ${Buffer.from('u:p').toString('base64')} ?service=s&scope=repository%3Aapp%3Apull`);
  await expect(registry.manifest(`${host}/closed`)).rejects.toMatchObject({ code: 'permission-denied' });
});

test('an interrupted call ends at once', async () => {
  const host = await serve((_, response) => response.writeHead(200, { 'content-length': 10 }).write('x'));
  const controller = new AbortController();
  const reading = client({ plainHttp: true }).manifest(`${host}/app`, { signal: controller.signal });
  setTimeout(() => controller.abort(), 20);
  await expect(reading).rejects.toMatchObject({ code: 'aborted' });
});

test('tags come page by page, and a list that leads back to itself ends', async () => {
  const host = await serve((request, response) => {
    const last = new URL(request.url ?? '', 'http://x').searchParams.get('last');
    const loops = request.url?.includes('loop') === true;
    const next = last === null || loops ? { link: '</v2/elsewhere?n=2&last=b>; rel="next"' } : {};
    response.writeHead(200, next).end(JSON.stringify({ tags: last === null ? ['a', 'b'] : ['c'] }));
  });
  const list = async (name: string): Promise<string[]> => {
    const tags: string[] = [];
    for await (const tag of client({ plainHttp: true }).tags(`${host}/${name}`)) tags.push(tag);
    return tags;
  };
  expect(await list('app')).toEqual(['a', 'b', 'c']);
  await expect(list('loop')).rejects.toThrow(/leads back/);
});

test('what is refused, redirected or only asked for costs no further connection', async () => {
  const connections = new Set<unknown>();
  const host = await serve((request, response) => {
    connections.add(request.socket);
    const { url = '', headers } = request;
    if (url.startsWith('/token')) return response.end('{"token":"it"}');
    if (headers.authorization === undefined && url !== '/v2/') {
      const challenge = `Bearer realm="http://${headers.host}/token",service="s"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end('{"errors":[{"code":"UNAUTHORIZED"}]}');
    }
    if (url.includes('/blobs/')) return response.writeHead(307, { location: '/elsewhere' }).end('<a>there</a>');
    return giveBlob(request, response);
  });
  const registry = client({ plainHttp: true });
  const bytes = await all(registry.blob(`${host}/app`, blob));
  expect(bytes.equals(BLOB)).toBe(true);
  expect(connections.size).toBe(1);
  expect(await registry.uploadBlob(`${host}/app`, blob, () => registry.blob(`${host}/app`, blob))).toBe('exists');
  expect(connections.size).toBe(1);
});

test('a refusal whose body never ends is not waited for', async () => {
  const open: ServerResponse[] = [];
  const host = await serve((request, response) => {
    if (request.url === '/v2/') return response.end();
    if (request.headers.authorization !== undefined) return giveBlob(request, response);
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).write('{"errors":');
    return open.push(response);
  });
  const credentials = (): Promise<{ username: string; password: string }> =>
    Promise.resolve({ username: 'a', password: 'b' });
  const bytes = await all(client({ credentials }).blob(`${host}/app`, blob));
  expect(bytes.equals(BLOB)).toBe(true);
  expect(open.length).toBe(1);
});

test.each([
  { name: 'who ends each connection', says: '', times: 3, code: 'unavailable' },
  { name: 'who speaks no HTTP', says: 'SSH-2.0-OpenSSH_9.2\r\n', times: 1, code: 'invalid-argument' },
])('$name, and was never heard of before, is not asked for long', async ({ says, times, code }) => {
  let asked = 0;
  const server = createTcpServer((socket) => {
    socket
      .on('error', () => undefined)
      .once('data', () => {
        asked++;
        socket.end(says);
      });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const failed = client({ plainHttp: true, retry: { first: 1, tries: 9 } }).manifest(`${host}/app`);
    await expect(failed).rejects.toMatchObject({ code });
    expect(asked).toBe(times);
  } finally {
    server.close();
  }
});

test('a redirect without end is followed once', async () => {
  let hops = 0;
  const host = await serve((request, response) => {
    if (request.url === '/v2/') return response.end();
    hops++;
    return response.writeHead(307, { location: `/hop/${hops}` }).end();
  });
  await expect(client().manifest(`${host}/app`)).rejects.toMatchObject({ code: 'unavailable' });
  expect(hops).toBe(6);
});

test('a list of tags whose pages are empty, and always other ones, ends', async () => {
  let pages = 0;
  const host = await serve((request, response) => {
    if (request.url === '/v2/') return response.end();
    return response.setHeader('link', `</v2/app/tags/list?last=${pages++}>; rel="next"`).end('{"tags":[]}');
  });
  const registry = client({ plainHttp: true });
  const list = async (): Promise<string[]> => {
    const tags: string[] = [];
    for await (const tag of registry.tags(`${host}/app`)) tags.push(tag);
    return tags;
  };
  await expect(list()).rejects.toMatchObject({ code: 'resource-exhausted' });
  expect(pages).toBe(10_000);
}, 120_000);

test('a blob of which nothing was announced, and whose answer never ends, is complete with its last byte', async () => {
  const open: ServerResponse[] = [];
  const host = await serve((request, response) => {
    if (request.url === '/v2/') return response.end();
    open.push(response);
    return response.write(BLOB);
  });
  expect((await all(client().blob(`${host}/app`, blob))).equals(BLOB)).toBe(true);
  expect(open.length).toBe(1);
});

test('an error, or a manifest, that comes byte by byte without end is not waited for', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    let asked = 0;
    const host = await serve((request, response) => {
      if (request.url === '/v2/') return response.end();
      asked++;
      response.writeHead(request.url?.endsWith('refused') === true ? 403 : 200).write(' ');
      const drip = setInterval(() => response.write(' '), 5);
      return response.on('close', () => clearInterval(drip));
    });
    // A connection is never idle for so long.
    const registry = client({ plainHttp: true, retry: { tries: 1 }, idle: 1e9 });
    for (const [tag, code, milliseconds] of [
      ['refused', 'permission-denied', 11_000],
      ['given', 'unavailable', 601_000],
    ] as const) {
      const before = asked;
      const failed = registry.manifest(`${host}/app:${tag}`).catch((error: unknown) => error);
      while (asked === before) await new Promise(setImmediate);
      let passed = false;
      void failed.then(() => (passed = true));
      for (let i = 0; i < 100 && !passed; i++) {
        await vi.advanceTimersByTimeAsync(milliseconds / 50);
        await new Promise(setImmediate);
      }
      expect(passed).toBe(true);
      expect(await failed).toMatchObject({ code });
    }
  } finally {
    vi.useRealTimers();
  }
});
