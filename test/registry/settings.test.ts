/** How registries are reached: layerfs's configuration, client certificates, proxies, and the clear. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { imageOf, tarOf } from '../../packages/layerfs/dist/store/small-images.test-support.js';
import { layerfs, type CliResult } from '../support/cli.js';
import { missing, need } from '../support/needs.js';
import { LoopbackServers, FaultProxy, makeCertificate, putImage, TestRegistry } from '../support/registry.js';
import { scratchFolder } from '../support/scratch.js';

const here = missing('docker-registry', 'openssl') === undefined;
const IMAGE = imageOf([tarOf({ path: 'one', data: randomBytes(100_000) })]);

let registry: TestRegistry;
let work: string;
const servers = new LoopbackServers();
/** Tunnels, which their server no longer knows. */
const sockets: Socket[] = [];

beforeAll(async () => {
  if (!here) return;
  registry = await TestRegistry.start();
  await putImage(registry.host, 'app', '1', IMAGE);
});

afterAll(async () => {
  if (here) await registry.stop();
});

beforeEach((context) => {
  need(context, 'docker-registry', 'openssl');
  work = scratchFolder('layerfs-settings-');
});

afterEach(async () => {
  if (!here) return;
  for (const socket of sockets.splice(0)) socket.destroy();
  await servers.close();
  rmSync(work, { recursive: true, force: true });
});

/** Pulls into a new store each time. */
function pull(ref: string, args: string[] = [], env: Record<string, string> = {}): Promise<CliResult> {
  const root = join(work, `store-${randomBytes(4).toString('hex')}`);
  return layerfs(['--root', root, 'pull', ref, '--quiet', ...args], {
    env: { HOME: work, XDG_CONFIG_HOME: '', LAYERFS_CONFIG: '', ...env },
  });
}

const pulled = { code: 0, stdout: `${IMAGE.manifest.digest}\n`, stderr: '' };

function configure(toml: string): string {
  const file = join(work, 'config.toml');
  writeFileSync(file, toml);
  return file;
}

/** Hands everything on to the registry. */
const toRegistry: RequestListener = (incoming, answer) => {
  const url = new URL(incoming.url ?? '', 'http://x');
  const target = { host: '127.0.0.1', port: registry.host.split(':')[1], path: url.pathname + url.search };
  const outgoing = request({ ...target, method: incoming.method, headers: incoming.headers }, (upstream) => {
    answer.writeHead(upstream.statusCode ?? 500, upstream.headers);
    upstream.pipe(answer);
  });
  incoming.pipe(outgoing);
};

test('a registry elsewhere is asked without TLS only where that is said: on the command line, or in the file', async () => {
  // The same machine, under an address that does not say so.
  const ref = `0.0.0.0:${registry.host.split(':')[1]}/app:1`;
  const refused = await pull(ref);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('does not speak TLS (--plain-http')]);
  expect(await pull(ref, ['--plain-http'])).toEqual({ ...pulled, signal: null });
  const config = configure(`[registries."${ref.split('/')[0]}"]\nplain_http = true\n`);
  expect(await pull(ref, ['--config', config])).toMatchObject(pulled);
  expect(await pull(ref, [], { LAYERFS_CONFIG: config })).toMatchObject(pulled);
  mkdirSync(join(work, '.config/layerfs'), { recursive: true });
  writeFileSync(join(work, '.config/layerfs/config.toml'), readFileSync(config));
  expect(await pull(ref)).toMatchObject(pulled);
});

test('mirrors of the file are asked first, in their order; what is pushed goes to the registry', async () => {
  const mirror = await FaultProxy.start(registry.host);
  try {
    const config = configure(
      `[registries."${registry.host}"]\nmirrors = ["http://127.0.0.1:1", "http://${mirror.host}"]\n` +
        '[registries."registry.test"]\nmirrors = ["http://127.0.0.1:1"]\n',
    );
    let asked = 0;
    mirror.onRequest = () => void asked++;
    expect(await pull(`${registry.host}/app:1`, ['--config', config])).toMatchObject(pulled);
    expect(mirror.bytes).toBeGreaterThanOrEqual(IMAGE.layers[0].size);
    const root = join(work, 'store');
    const env = { HOME: work };
    await layerfs(['--root', root, 'pull', `${registry.host}/app:1`], { env });
    asked = 0;
    const to = `${registry.host}/pushed:1`;
    const push = await layerfs(['--root', root, 'push', `${registry.host}/app:1`, to, '--config', config], { env });
    expect([push.code, asked]).toEqual([0, 0]);
  } finally {
    await mirror.stop();
  }
});

test('a client certificate: from the file, from options, and without one', async () => {
  const server = await makeCertificate(work);
  const own = await makeCertificate(work, 'client.test');
  const port = await servers.listen(
    createTlsServer(
      {
        cert: readFileSync(server.cert),
        key: readFileSync(server.key),
        ca: readFileSync(own.cert),
        requestCert: true,
        rejectUnauthorized: true,
      },
      toRegistry,
    ),
  );
  const ref = `localhost:${port}/app:1`;
  const without = await pull(ref, ['--ca', server.cert]);
  expect([without.code, without.stderr]).toEqual([5, expect.stringContaining('wants a certificate of us')]);
  expect(await pull(ref, ['--ca', server.cert, '--cert', own.cert, '--key', own.key])).toMatchObject(pulled);
  // Paths are relative to the file.
  const table = `[registries."localhost:${port}"]\nca = ["localhost-cert.pem"]\n`;
  const config = configure(`${table}cert = "client.test-cert.pem"\nkey = "client.test-key.pem"\n`);
  expect(await pull(ref, ['--config', config])).toMatchObject(pulled);
  writeFileSync(join(work, 'both.pem'), `${readFileSync(own.cert, 'utf8')}${readFileSync(own.key, 'utf8')}`);
  expect(await pull(ref, ['--config', configure(`${table}cert = "both.pem"\n`)])).toMatchObject(pulled);
  const another = configure(`${table}cert = "localhost-cert.pem"\nkey = "localhost-key.pem"\n`);
  expect((await pull(ref, ['--config', another])).code).toBe(1);
});

test('a registry that refuses our certificate, or that we have none, is asked once', async () => {
  const server = await makeCertificate(work);
  const own = await makeCertificate(work, 'client.test');
  const strict = await TestRegistry.start({ tls: server, clients: own.cert });
  const ways: Socket[] = [];
  const port = await servers.listen(
    createTcpServer((socket) => {
      ways.push(socket);
      const upstream = connect(Number(strict.host.split(':')[1]), '127.0.0.1');
      socket.pipe(upstream).pipe(socket);
      for (const [end, other] of [
        [upstream, socket],
        [socket, upstream],
      ]) {
        end.on('error', () => other.destroy());
      }
    }),
  );
  try {
    for (const args of [[], ['--cert', server.cert, '--key', server.key]]) {
      ways.length = 0;
      const refused = await pull(`localhost:${port}/app:1`, ['--ca', server.cert, ...args]);
      expect([refused.code, refused.stderr]).toEqual([5, expect.stringMatching(/certificate of us.*bad certificate/)]);
      // One to see whether it speaks TLS.
      expect(ways.length).toBe(2);
    }
    const args = ['--ca', server.cert, '--cert', own.cert, '--key', own.key];
    expect((await pull(`localhost:${port}/app:1`, args)).stderr).toContain('not found');
  } finally {
    for (const way of ways) way.destroy();
    await strict.stop();
  }
});

test('HTTPS_PROXY: through a tunnel, with the proxy’s password; TLS is with the registry itself', async () => {
  const certificate = await makeCertificate(work, 'registry.test');
  const port = await servers.listen(
    createTlsServer({ cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) }, toRegistry),
  );
  const tunnels: string[] = [];
  const proxy = createServer((_, answer) => void answer.writeHead(400).end());
  proxy.on('connect', (incoming: IncomingMessage, socket: Socket) => {
    const basic = Buffer.from('proxy-user:proxy-word').toString('base64');
    if (incoming.headers['proxy-authorization'] !== `Basic ${basic}`) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    tunnels.push(incoming.url ?? '');
    sockets.push(socket);
    const upstream = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    for (const [end, other] of [
      [upstream, socket],
      [socket, upstream],
    ]) {
      end.on('error', () => other.destroy());
    }
  });
  const proxyPort = await servers.listen(proxy);
  const ref = 'registry.test/app:1';
  const env = { HTTPS_PROXY: `http://proxy-user:proxy-word@127.0.0.1:${proxyPort}` };
  expect(await pull(ref, ['--ca', certificate.cert], env)).toMatchObject(pulled);
  expect(tunnels.length).toBeGreaterThan(0);
  expect(new Set(tunnels)).toEqual(new Set(['registry.test:443']));
  // Without the authority nobody is believed.
  const distrusted = await pull(ref, [], env);
  expect([distrusted.code, distrusted.stderr]).toEqual([1, expect.stringContaining('not trusted')]);
  const wrong = await pull(ref, ['--ca', certificate.cert], {
    HTTPS_PROXY: `http://proxy-user:wrong-word@127.0.0.1:${proxyPort}`,
  });
  expect([wrong.code, wrong.stderr]).toEqual([5, expect.stringContaining('407')]);
  expect(distrusted.stderr + wrong.stderr).not.toMatch(/proxy-word|wrong-word/);
});

test('HTTP_PROXY, and NO_PROXY: by host and by port', async () => {
  const seen: string[] = [];
  const proxy = createServer((incoming, answer) => {
    seen.push(incoming.url ?? '');
    toRegistry(incoming, answer);
  });
  const HTTP_PROXY = `http://127.0.0.1:${await servers.listen(proxy)}`;
  expect(await pull('registry.test/app:1', ['--plain-http'], { HTTP_PROXY })).toMatchObject(pulled);
  expect(seen).toContain('http://registry.test/v2/app/manifests/1');
  const host = `0.0.0.0:${registry.host.split(':')[1]}`;
  const through = async (NO_PROXY: string): Promise<boolean> => {
    seen.length = 0;
    expect(await pull(`${host}/app:1`, ['--plain-http'], { HTTP_PROXY, NO_PROXY })).toMatchObject(pulled);
    return seen.length > 0;
  };
  expect(await through('')).toBe(true);
  expect(await through('elsewhere.test')).toBe(true);
  expect(await through('0.0.0.0')).toBe(false);
  expect(await through(host)).toBe(false);
  expect(await through('0.0.0.0:1')).toBe(true);
  expect(await through('*')).toBe(false);
  // This machine is never asked for through one.
  seen.length = 0;
  expect(await pull(`${registry.host}/app:1`, [], { HTTP_PROXY })).toMatchObject(pulled);
  expect(seen).toEqual([]);
});

test.each([
  ['registries = 1', 'config.toml:1: registries is no table'],
  ['\n[registries."a.test"]\nmirror = "x"', 'config.toml:2: registries "a.test": unknown key "mirror"'],
  ['[registries."a.test"]\nmirrors = ["ftp://x"]', 'mirrors are addresses'],
  ['[registries."a.test"]\nplain_http = "yes"', 'plain_http is true or false'],
  ['[registries."a.test"]\nca = "none.pem"', 'none.pem'],
  ['[registries."no host/x"]\n', 'config.toml:1: registries'],
  ['[registries', 'config.toml:1:'],
])('a file that says %j', async (toml, message) => {
  const { code, stderr } = await pull(`${registry.host}/app:1`, ['--config', configure(toml)]);
  expect(code).toBeGreaterThan(2);
  expect(stderr).toContain(message);
});

test('fsck --repair reaches a registry as the file, or its options, say', async () => {
  const ref = `0.0.0.0:${registry.host.split(':')[1]}/app:1`;
  const root = join(work, 'store');
  const call = (...args: string[]): Promise<CliResult> => layerfs(['--root', root, ...args], { env: { HOME: work } });
  expect((await call('pull', ref, '--plain-http')).code).toBe(0);
  const config = configure(`[registries."${ref.split('/')[0]}"]\nplain_http = true\n`);
  for (const args of [['--config', config], ['--plain-http']]) {
    rmSync(join(root, 'blobs', IMAGE.manifest.digest.replace(':', '/')));
    expect((await call('fsck', '--repair', ...args)).code).toBe(7);
  }
});
