/** What registries should not answer, and people should not ask for: a clear error each time, and nothing is added. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkStore, LayerfsError, openStore, Registry } from 'layerfs';
import { imageOf, tarOf, type SmallImage } from '../../packages/layerfs/dist/store/small-images.test-support.js';
import { layerfs, type CliResult } from '../support/cli.js';
import { need } from '../support/needs.js';
import { LoopbackServers, makeCertificate, USER } from '../support/registry.js';
import { scratchFolder } from '../support/scratch.js';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE = imageOf([tarOf({ path: 'one', data: randomBytes(50_000) })]);
const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

let work: string;
let root: string;
const servers = new LoopbackServers();

beforeEach(() => {
  work = scratchFolder('layerfs-bad-');
  root = join(work, 'store');
});

afterEach(async () => {
  await servers.close();
  rmSync(work, { recursive: true, force: true });
});

const serve = async (listener: RequestListener): Promise<string> =>
  `localhost:${await servers.listen(createServer(listener))}`;

/** A registry without TLS of these documents and blobs, by digest; `tag` is what every tag is. */
function holding(tag: Uint8Array, type: string, blobs: ReadonlyMap<string, Uint8Array>): RequestListener {
  return (request, answer) => {
    const name = request.url?.split('/').at(-1) ?? '';
    const bytes = name.startsWith('sha256:') ? blobs.get(name) : tag;
    if (request.url === '/v2/') answer.end();
    else if (bytes === undefined) answer.writeHead(404).end('<html>nothing here</html>');
    else {
      const isIndex = Buffer.from(bytes.subarray(0, 400)).includes('"manifests"');
      const isDocument = request.url?.includes('/manifests/') === true;
      if (isDocument) answer.setHeader('content-type', isIndex ? INDEX : type);
      answer.end(bytes);
    }
  };
}

function ofImage(image: SmallImage): RequestListener {
  return holding(image.blobs.get(image.manifest.digest) as Buffer, image.manifest.mediaType, image.blobs);
}

async function pull(ref: string, ...args: string[]): Promise<CliResult> {
  const env = { HOME: work, XDG_RUNTIME_DIR: work, DOCKER_CONFIG: work, REGISTRY_AUTH_FILE: '' };
  return layerfs(['--root', root, 'pull', ref, ...args], { env });
}

const EXITS: Readonly<Record<string, number>> = {
  corrupt: 4,
  'invalid-argument': 4,
  'not-found': 3,
  'permission-denied': 5,
};

/** The same in this process, which waits less before it tries again; errors as the command's. */
async function pullHere(ref: string, ...args: string[]): Promise<Pick<CliResult, 'code' | 'stderr'>> {
  const registry = new Registry({
    credentials: () => Promise.resolve(undefined),
    retry: { first: 5, longest: 20 },
    hostFolders: [],
  });
  await using store = await openStore({ root });
  try {
    await store.pull(ref, { registry, allPlatforms: args.includes('--all-platforms') });
    return { code: 0, stderr: '' };
  } catch (error) {
    if (!(error instanceof LayerfsError)) throw error;
    return { code: EXITS[error.code] ?? 1, stderr: error.message };
  } finally {
    registry.close();
  }
}

async function expectNothing(): Promise<void> {
  await using store = await openStore({ root });
  expect(store.images()).toEqual([]);
  expect((await checkStore(root)).state).toBe('sound');
}

test('the registry of these tests gives what is right', async () => {
  expect(await pull(`${await serve(ofImage(IMAGE))}/app:1`)).toMatchObject({ code: 0, stderr: '' });
});

test.each([
  'app/UPPER',
  'app:',
  ':1',
  '/app',
  'app@sha256:12',
  'app@md5:d41d8cd98f00b204e9800998ecf8427e',
  'http://localhost:1/app:1',
  'localhost:99999999/app',
  'a'.repeat(300),
  `app:${'t'.repeat(129)}`,
  '../../etc/passwd',
  'app name',
  'app\u0000x',
])('%j is no reference: nobody is asked', async (ref) => {
  // Arguments cannot hold a zero byte.
  const asked = ref.includes('\0') ? ref.replace('\0', '\n') : ref;
  const { code, stderr } = await pull(asked);
  expect(code).toBe(4);
  expect(stderr).toMatch(/^layerfs: cannot pull/);
  expect(stderr).not.toMatch(/ECONN|cannot be reached/);
});

test('a web page in place of a manifest, a config, a layer, or an error', async () => {
  const page = '<html><title>Sign in</title></html>';
  const html = (when: (url: string) => boolean, status = 200): RequestListener => {
    const right = ofImage(IMAGE);
    return (request, answer) => {
      if (when(request.url ?? '')) answer.writeHead(status, { 'content-type': 'text/html' }).end(page);
      else right(request, answer);
    };
  };
  const call = async (when: (url: string) => boolean, status?: number): ReturnType<typeof pullHere> =>
    pullHere(`${await serve(html(when, status))}/app:1`);
  const manifest = await call((url) => url.includes('/manifests/'));
  expect([manifest.code, manifest.stderr]).toEqual([4, expect.stringContaining('text/html": this is no registry')]);
  const layer = await call((url) => url.endsWith(IMAGE.layers[0].digest));
  expect([layer.code, layer.stderr]).toEqual([4, expect.stringContaining(IMAGE.layers[0].digest)]);
  const missing = await call((url) => url.includes('/manifests/'), 404);
  expect([missing.code, missing.stderr]).toEqual([3, expect.stringContaining('not found')]);
  const closed = await call((url) => url.includes('/manifests/'), 403);
  expect([closed.code, closed.stderr]).toEqual([5, expect.stringContaining('access denied')]);
  for (const { stderr } of [manifest, layer, missing, closed]) expect(stderr).not.toMatch(/<|Sign in/);
  await expectNothing();
});

test.each([
  ['a layer is shorter than it says', 'layers', 100_000],
  ['a layer is longer than it says', 'layers', 10],
  ['a layer has 8 EiB', 'layers', 2 ** 63],
  ['a config is longer than it says', 'config', 10],
  ['a config has 1 GiB', 'config', 2 ** 30],
])('a manifest that lies about sizes: %s', async (_, field, size) => {
  const lying = imageOf([tarOf({ path: 'one', data: 'one\n' })], {
    change: (manifest) => {
      const lie = field === 'layers' ? manifest.layers[0] : manifest.config;
      lie.size = size;
    },
  });
  const { code, stderr } = await pullHere(`${await serve(ofImage(lying))}/app:1`);
  expect([code, stderr]).toEqual([4, expect.stringMatching(/announced|size|more than|bytes/)]);
  await expectNothing();
});

test('an index that points to itself, or that is too deep', async () => {
  const entry = (bytes: Uint8Array, digest = digestOf(bytes)): object => ({
    mediaType: INDEX,
    digest,
    size: bytes.length,
  });
  const indexOf = (...manifests: object[]): Buffer =>
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
  // No index holds its own digest: what is listed as another one comes as the same again.
  const fake = digestOf(Buffer.from('fake'));
  const length = indexOf(entry(Buffer.alloc(100), fake)).length;
  const self = indexOf(entry(Buffer.alloc(length), fake));
  expect(self.length).toBe(length);
  for (const args of [[], ['--all-platforms']]) {
    const host = await serve(holding(self, INDEX, new Map([[fake, self]])));
    const { code, stderr } = await pullHere(`${host}/app:1`, ...args);
    expect([code, stderr]).toEqual([4, expect.stringContaining('damaged')]);
  }
  const blobs = new Map<string, Uint8Array>(IMAGE.blobs);
  let at: Uint8Array = indexOf({ ...IMAGE.manifest });
  for (let i = 0; i < 20; i++) {
    blobs.set(digestOf(at), at);
    at = indexOf(entry(at));
  }
  for (const args of [[], ['--all-platforms']]) {
    const { code, stderr } = await pullHere(`${await serve(holding(at, INDEX, blobs))}/app:1`, ...args);
    expect([code, stderr]).toEqual([4, expect.stringContaining('deep')]);
  }
  await expectNothing();
});

test.each([true, false])('a manifest of 1 GiB (told before it comes: %s) is not read', async (told) => {
  let sent = 0;
  const host = await serve((request, answer) => {
    if (request.url === '/v2/') {
      answer.end();
      return;
    }
    const length = told ? { 'content-length': String(2 ** 30) } : {};
    answer.writeHead(200, { 'content-type': IMAGE.manifest.mediaType, ...length });
    const piece = Buffer.alloc(65536, 0x20);
    const more = (): void => {
      while (!answer.destroyed && sent < 2 ** 30) {
        sent += piece.length;
        if (!answer.write(piece)) break;
      }
    };
    answer.on('drain', more);
    more();
  });
  const { code, stderr } = await pull(`${host}/app:1`);
  expect([code, stderr]).toEqual([1, expect.stringContaining('more than 4194304 are not accepted')]);
  // What is in the kernel's buffers was sent, too.
  expect(sent).toBeLessThan(32 << 20);
});

test('what has come is only told to be kept where something came', async () => {
  const right = ofImage(IMAGE);
  let gone = false;
  const host = await serve((request, answer) => {
    if (gone) {
      request.destroy();
      return;
    }
    if (request.url?.endsWith(IMAGE.layers[0].digest) !== true) {
      right(request, answer);
      return;
    }
    gone = true;
    answer.writeHead(200, { 'content-length': IMAGE.layers[0].size });
    answer.write(IMAGE.blobs.get(IMAGE.layers[0].digest)?.subarray(0, 20_000), () => answer.destroy());
  });
  const broken = await pull(`${host}/app:1`);
  expect([broken.code, broken.stderr]).toEqual([1, expect.stringContaining('have come')]);
  const nobody = await pull('localhost:1/app:1');
  expect(nobody.code).toBe(1);
  expect(nobody.stderr).not.toMatch(/have come|is kept/);
});

test('unauthorised: without credentials, and with a token that is never right', async () => {
  let given = 0;
  const host = await serve((request, answer) => {
    if (request.url?.startsWith('/token') === true) {
      given++;
      answer.end('{"token":"not-the-right-one"}');
      return;
    }
    answer.setHeader('www-authenticate', `Bearer realm="http://${request.headers.host}/token",service="s"`);
    answer.writeHead(401).end('{"errors":[{"code":"UNAUTHORIZED","message":"go away"}]}');
  });
  const { code, stderr } = await pull(`${host}/app:1`);
  expect([code, stderr]).toEqual([5, expect.stringContaining('UNAUTHORIZED, go away')]);
  expect(stderr).toContain('layerfs login');
  expect(stderr).not.toContain('not-the-right-one');
  expect(given).toBeLessThan(5);
});

test.each([
  ['a web page', (answer: ServerResponse) => answer.setHeader('content-type', 'text/html').end('<html>'), 4],
  ['1 GiB', (answer: ServerResponse) => answer.setHeader('content-length', String(2 ** 30)).write('{'), 1],
  ['a token with a line in it', (answer: ServerResponse) => answer.end('{"token":"a\\r\\nx-header: b"}'), 4],
  ['a redirect', (answer: ServerResponse) => answer.writeHead(307, { location: 'http://localhost:1/x' }).end(), 1],
])('a realm that answers with %s', async (_, give, exit) => {
  const host = await serve((request, answer) => {
    if (request.url?.startsWith('/token') === true) {
      give(answer);
      return;
    }
    answer.setHeader('www-authenticate', `Bearer realm="http://${request.headers.host}/token"`);
    answer.writeHead(401).end();
  });
  const { code, stderr } = await pullHere(`${host}/app:1`);
  expect(code).toBe(exit);
  expect(stderr).toMatch(/token/);
});

test('a realm on another host: credentials go there with TLS, as Docker does it, and never in the clear', async (context) => {
  need(context, 'openssl');
  const certificate = await makeCertificate(work);
  const tls = { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) };
  const seen: (string | undefined)[] = [];
  const tokens = (request: IncomingMessage, answer: ServerResponse): void => {
    seen.push(request.headers.authorization);
    answer.end('{"token":"good"}');
  };
  const [secure, clear] = [
    await servers.listen(createTlsServer(tls, tokens)),
    await servers.listen(createServer(tokens)),
  ];
  let realm = '';
  const right = ofImage(IMAGE);
  const registry = await servers.listen(
    createTlsServer(tls, (request, answer) => {
      if (request.headers.authorization === 'Bearer good') {
        right(request, answer);
        return;
      }
      answer.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
    }),
  );
  const auth = Buffer.from(`${USER.name}:${USER.password}`).toString('base64');
  writeFileSync(join(work, 'config.json'), JSON.stringify({ auths: { [`localhost:${registry}`]: { auth } } }));
  const call = (): Promise<CliResult> => pull(`localhost:${registry}/app:1`, '--ca', certificate.cert);
  for (realm of [`http://0.0.0.0:${clear}/token`, 'ftp://localhost/token', 'nowhere']) {
    const { code, stderr } = await call();
    expect([code === 5 || code === 4, stderr]).toEqual([true, expect.stringMatching(/without encryption|no realm/)]);
    expect(stderr).not.toContain(auth);
  }
  expect(seen).toEqual([]);
  realm = `https://127.0.0.1:${secure}/token`;
  expect(await call()).toMatchObject({ code: 0 });
  expect(seen).toEqual([`Basic ${auth}`]);
});
