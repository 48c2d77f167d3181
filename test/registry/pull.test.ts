/** `layerfs pull` from real registries on loopback, as they are and through a proxy that fails. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { checkStore, openStore, Registry, type PullResult } from 'layerfs';
import {
  imageOf,
  layoutOf,
  tarOf,
  type SmallImage,
} from '../../packages/layerfs/dist/store/small-images.test-support.js';
import { run } from '../images/oci.js';
import { CLI, layerfs, layerfsOk } from '../support/cli.js';
import { missing, need } from '../support/needs.js';
import { FaultProxy, makeCertificate, putImage, serveTokens, TestRegistry, USER } from '../support/registry.js';
import { scratchFolder } from '../support/scratch.js';
import { storeListing } from '../support/store-listing.js';

const here = missing('docker-registry') === undefined;
/** Content that does not compress, so that the blob is as long as it. */
const LAYER = 3 << 20;
const IMAGE = imageOf([
  tarOf({ path: 'etc/' }, { path: 'etc/base', data: 'base\n' }),
  tarOf({ path: 'one', data: randomBytes(LAYER) }),
  tarOf({ path: 'two', data: randomBytes(LAYER / 2) }),
]);
const BIG = IMAGE.layers[1];
const ALL = IMAGE.layers.reduce((sum, { size }) => sum + size, 0);

let registry: TestRegistry;
let proxy: FaultProxy;
let work: string;
let root: string;

beforeAll(async () => {
  if (!here) return;
  registry = await TestRegistry.start();
  proxy = await FaultProxy.start(registry.host);
  await putImage(registry.host, 'app', '1', IMAGE);
});

afterAll(async () => {
  if (!here) return;
  await proxy.stop();
  await registry.stop();
});

beforeEach((context) => {
  need(context, 'docker-registry');
  work = scratchFolder('layerfs-pull-');
  root = join(work, 'store');
  proxy.reset();
});

afterEach(() => {
  if (here) rmSync(work, { recursive: true, force: true });
});

/** Pulls in this process, with short waits. */
async function pull(ref: string, options: { idle?: number } = {}): Promise<PullResult> {
  const client = new Registry({ retry: { first: 5, longest: 20 }, hostFolders: [], ...options });
  await using store = await openStore({ root });
  try {
    return await store.pull(ref, { registry: client });
  } finally {
    client.close();
  }
}

async function expectSound(image: SmallImage = IMAGE): Promise<void> {
  expect((await checkStore(root)).state).toBe('sound');
  await using store = await openStore({ root });
  const found = store.images();
  expect(found.map(({ digest }) => digest)).toEqual([image.manifest.digest]);
  const blobs = readdirSync(join(root, 'blobs/sha256'));
  for (const { digest } of image.layers) {
    expect(blobs).toContain(digest.slice(7));
    const bytes = readFileSync(join(root, 'blobs', digest.replace(':', '/')));
    expect(bytes.equals(image.blobs.get(digest) as Buffer)).toBe(true);
  }
  expect(readdirSync(join(root, 'ingest'))).toEqual([]);
}

describe('what a registry has', () => {
  test('comes by tag and by digest, with the same digests, and is fetched once', async () => {
    const first = await pull(`${registry.host}/app:1`);
    expect(first.fetched).toBe(ALL);
    expect(first.images[0]).toMatchObject({ name: `${registry.host}/app:1`, digest: IMAGE.manifest.digest });
    await expectSound();
    const again = await pull(`${registry.host}/app@${IMAGE.manifest.digest}`);
    expect(again.fetched).toBe(0);
    expect(again.images[0].name).toBe(`${registry.host}/app:${IMAGE.manifest.digest.replace(':', '-')}`);
    const out = join(work, 'out');
    await layerfsOk(['--root', root, 'export', `${registry.host}/app:1`, out]);
    const index = JSON.parse(readFileSync(join(out, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
    expect(index.manifests[0].digest).toBe(IMAGE.manifest.digest);
  });

  test('the next tag costs only what is new', async () => {
    const next = imageOf([
      tarOf({ path: 'etc/' }, { path: 'etc/base', data: 'base\n' }),
      tarOf({ path: 'three', data: randomBytes(5000) }),
    ]);
    await putImage(registry.host, 'app', '2', next);
    await pull(`${registry.host}/app:1`);
    const { fetched } = await pull(`${registry.host}/app:2`);
    expect(fetched).toBe(next.layers[1].size);
  });

  test('what skopeo and buildah push is read, digest for digest', async (context) => {
    need(context, 'skopeo', 'buildah', 'root');
    const layout = layoutOf(join(work, 'layout'), { latest: IMAGE });
    const target = `docker://${registry.host}`;
    await run('skopeo', [
      'copy',
      '-q',
      '--dest-tls-verify=false',
      '--format=v2s2',
      `oci:${layout}:latest`,
      `${target}/skopeo:1`,
    ]);
    const storage = ['--root', join(work, 'c'), '--runroot', join(work, 'r'), '--storage-driver', 'vfs'];
    await run('buildah', [...storage, 'pull', '-q', '--tls-verify=false', `${target}/app:1`]);
    const { stdout } = await run('buildah', [...storage, 'images', '-q']);
    await run('buildah', [...storage, 'push', '-q', '--tls-verify=false', stdout.trim(), `${target}/buildah:1`]);
    for (const name of ['skopeo', 'buildah']) {
      const { images } = await pull(`${registry.host}/${name}:1`);
      const told = await run('skopeo', [
        'inspect',
        '--tls-verify=false',
        '--format={{.Digest}}',
        `${target}/${name}:1`,
      ]);
      expect(images[0].digest).toBe(told.stdout.trim());
    }
    expect((await checkStore(root)).state).toBe('sound');
  });

  test('of an index: the platform that is wanted, or all of them', async () => {
    const other = imageOf([tarOf({ path: 'other', data: 'other\n' })], { config: { architecture: 's390x' } });
    await putImage(registry.host, 'multi', 'a', IMAGE);
    await putImage(registry.host, 'multi', 'b', other);
    const arch = { x64: 'amd64' }[process.arch as string] ?? process.arch;
    const entry = ({ manifest }: SmallImage, architecture: string): object => ({
      ...manifest,
      platform: { os: 'linux', architecture },
    });
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const body = JSON.stringify({
      schemaVersion: 2,
      mediaType,
      manifests: [entry(other, 's390x'), entry(IMAGE, arch)],
    });
    const headers = { 'content-type': mediaType };
    const put = await fetch(`http://${registry.host}/v2/multi/manifests/1`, { method: 'PUT', body, headers });
    expect(put.status).toBe(201);
    const ref = `${registry.host}/multi:1`;
    const json = async (...args: string[]): Promise<PullResult> =>
      JSON.parse(await layerfsOk(['--root', root, 'pull', ref, '--json', ...args])) as PullResult;
    expect((await json()).images.map(({ digest }) => digest)).toEqual([IMAGE.manifest.digest]);
    expect((await json('--platform', 'linux/s390x', '--name', 'x')).images[0]).toMatchObject({
      name: 'x:latest',
      digest: other.manifest.digest,
    });
    expect((await json('--all-platforms')).images.map(({ name }) => name)).toEqual([`${ref}-linux-s390x`, ref]);
    const missing = await layerfs(['--root', root, 'pull', ref, '--platform', 'linux/riscv64']);
    expect([missing.code, missing.stderr]).toEqual([3, expect.stringContaining('there is linux/s390x')]);
  });
});

describe('who may', () => {
  const helper = `#!/bin/sh\ncat >/dev/null\necho '{"Username":"${USER.name}","Secret":"${USER.password}"}'\n`;

  test('TLS with an own authority, and a password from config.json or a helper', async (context) => {
    need(context, 'openssl', 'skopeo');
    const tls = await makeCertificate(work);
    const closed = await TestRegistry.start({ tls, password: true });
    try {
      const layout = layoutOf(join(work, 'layout'), { latest: IMAGE });
      const ref = `${closed.host}/app:1`;
      const creds = `--dest-creds=${USER.name}:${USER.password}`;
      await run('skopeo', ['copy', '-q', '--dest-tls-verify=false', creds, `oci:${layout}:latest`, `docker://${ref}`]);
      const config = join(work, 'docker');
      mkdirSync(config);
      const env = { DOCKER_CONFIG: config, HOME: work, XDG_RUNTIME_DIR: work, PATH: `${work}:${process.env['PATH']}` };
      const call = (...args: string[]): ReturnType<typeof layerfs> =>
        layerfs(['--root', root, 'pull', ref, ...args], { env });
      const save = (value: object): void => writeFileSync(join(config, 'config.json'), JSON.stringify(value));
      const auth = (password: string): object => ({
        auths: { [closed.host]: { auth: Buffer.from(`${USER.name}:${password}`).toString('base64') } },
      });
      save(auth(USER.password));
      const distrusted = await call();
      expect([distrusted.code, distrusted.stderr]).toEqual([1, expect.stringContaining('not trusted')]);
      save(auth('wrong-word'));
      const wrong = await call('--ca', tls.cert);
      expect([wrong.code, wrong.stderr]).toEqual([5, expect.stringContaining('not authorised')]);
      expect(wrong.stderr).not.toMatch(/wrong-word|d3Jvbmct/);
      save({});
      expect((await call('--ca', tls.cert)).code).toBe(5);
      writeFileSync(join(work, 'docker-credential-test'), helper);
      chmodSync(join(work, 'docker-credential-test'), 0o755);
      save({ credHelpers: { [closed.host]: 'test' } });
      expect(await call('--ca', tls.cert)).toMatchObject({ code: 0, stderr: '' });
      // The authority as containerd and Docker keep it.
      const hosts = join(work, 'hosts', closed.host);
      mkdirSync(hosts, { recursive: true });
      writeFileSync(join(hosts, 'hosts.toml'), `server = "https://${closed.host}"\nca = "${tls.cert}"\n`);
      save(auth(USER.password));
      expect(await call('--hosts-dir', join(work, 'hosts'))).toMatchObject({ code: 0 });
      await expectSound();
    } finally {
      await closed.stop();
    }
  });

  test('tokens of a server of its own', async (context) => {
    need(context, 'openssl', 'skopeo');
    const certificate = await makeCertificate(work);
    const tokens = await serveTokens(certificate);
    const closed = await TestRegistry.start({ tokens: { realm: tokens.realm, cert: certificate.cert } });
    try {
      const layout = layoutOf(join(work, 'layout'), { latest: IMAGE });
      const creds = `--dest-creds=${USER.name}:${USER.password}`;
      for (const name of ['public/app', 'private/app']) {
        const target = `docker://${closed.host}/${name}:1`;
        await run('skopeo', ['copy', '-q', '--dest-tls-verify=false', creds, `oci:${layout}:latest`, target]);
      }
      tokens.given.length = 0;
      const env = { DOCKER_CONFIG: work, HOME: work, XDG_RUNTIME_DIR: work };
      const call = (name: string): ReturnType<typeof layerfs> =>
        layerfs(['--root', root, 'pull', `${closed.host}/${name}:1`], { env });
      expect(await call('public/app')).toMatchObject({ code: 0 });
      expect(tokens.given).toEqual(['repository:public/app:pull']);
      expect((await call('private/app')).code).toBe(5);
      const auth = Buffer.from(`${USER.name}:${USER.password}`).toString('base64');
      writeFileSync(join(work, 'config.json'), JSON.stringify({ auths: { [closed.host]: { auth } } }));
      expect(await call('private/app')).toMatchObject({ code: 0 });
    } finally {
      await closed.stop();
      tokens.server.close();
    }
  });

  test('a mirror of hosts.toml is asked first, and the registry where the mirror has it not', async () => {
    const folder = join(work, 'hosts/registry.test:5000');
    mkdirSync(folder, { recursive: true });
    const toml = `server = "http://${registry.host}"\n[host."http://${proxy.host}"]\ncapabilities = ["pull", "resolve"]\n`;
    writeFileSync(join(folder, 'hosts.toml'), toml);
    const args = ['--root', root, 'pull', 'registry.test:5000/app:1', '--hosts-dir', join(work, 'hosts')];
    proxy.reset(({ answer, before }) => (before > 0 ? false : (answer.writeHead(404).end(), true)));
    await layerfsOk(args);
    expect(proxy.bytes).toBe(0);
    rmSync(root, { recursive: true });
    proxy.reset();
    await layerfsOk(args);
    expect(proxy.bytes).toBeGreaterThanOrEqual(ALL);
    await expectSound();
  });
});

describe('faults on the way', () => {
  const isBig = (url: string | undefined): boolean => url?.endsWith(BIG.digest) === true;

  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9])(
    'a cut at %i tenths of a layer: only the rest is fetched again',
    async (tenth) => {
      const until = Math.floor((BIG.size * tenth) / 10);
      proxy.reset(({ request, answer, upstream, before }) => {
        if (!isBig(request.url) || before > 0) return false;
        answer.writeHead(200, upstream.headers);
        let sent = 0;
        upstream.on('data', (piece: Buffer) => {
          const part = piece.subarray(0, until - sent);
          sent += part.length;
          if (part.length > 0) answer.write(part, () => sent === until && answer.destroy());
        });
        return true;
      });
      const { fetched } = await pull(`${proxy.host}/app:1`);
      expect(fetched).toBe(ALL);
      await expectSound();
    },
  );

  test('500 and 429 pass', async () => {
    proxy.reset(({ answer, before }) => {
      if (before > 1) return false;
      answer.writeHead(before === 0 ? 500 : 429, { 'retry-after': '0' }).end();
      return true;
    });
    await pull(`${proxy.host}/app:1`);
    await expectSound();
  });

  test('a server that answers a range with the whole, and one that drips', async () => {
    proxy.reset(({ request, answer, upstream, before }) => {
      if (!isBig(request.url)) return false;
      const bytes = IMAGE.blobs.get(BIG.digest) as Buffer;
      upstream.resume();
      answer.writeHead(200, { 'content-length': bytes.length });
      if (before === 0) answer.write(bytes.subarray(0, 1_000_000), () => answer.destroy());
      else {
        const drip = (at: number): void => {
          if (at >= bytes.length) answer.end();
          else answer.write(bytes.subarray(at, at + 200_000), () => setTimeout(drip, 2, at + 200_000));
        };
        drip(0);
      }
      return true;
    });
    await pull(`${proxy.host}/app:1`);
    await expectSound();
  });

  test('a redirect to another host', async () => {
    const seen: (string | undefined)[] = [];
    const storage = createServer(({ headers }, answer) => {
      seen.push(headers.authorization);
      answer.end(IMAGE.blobs.get(BIG.digest));
    }).listen(0, '127.0.0.1');
    await once(storage, 'listening');
    const { port } = storage.address() as AddressInfo;
    proxy.reset(({ request, answer, upstream }) => {
      if (!isBig(request.url)) return false;
      upstream.resume();
      answer.writeHead(307, { location: `http://127.0.0.1:${port}/somewhere?signed=secret` }).end();
      return true;
    });
    await pull(`${proxy.host}/app:1`);
    storage.close();
    expect(seen).toEqual([undefined]);
    await expectSound();
  });

  test.each([
    ['wrong bytes', (bytes: Buffer) => Buffer.from(bytes).fill(0, 1_500_000, 1_500_100), /damaged/],
    ['fewer bytes', (bytes: Buffer) => bytes.subarray(0, -1), /announced/],
    ['more bytes', (bytes: Buffer) => Buffer.concat([bytes, bytes]), /announced/],
    ['another layer', () => IMAGE.blobs.get(IMAGE.layers[2].digest) as Buffer, /announced|damaged/],
  ])('%s: a clear error, and nothing of it stays', async (_, change, message) => {
    proxy.reset(({ request, answer, upstream }) => {
      if (!isBig(request.url)) return false;
      const bytes = change(IMAGE.blobs.get(BIG.digest) as Buffer);
      upstream.resume();
      answer.writeHead(200, { 'content-length': bytes.length }).end(bytes);
      return true;
    });
    const pulling = pull(`${proxy.host}/app:1`);
    await expect(pulling).rejects.toMatchObject({ code: 'corrupt' });
    await expect(pulling).rejects.toThrow(message);
    expect((await checkStore(root)).state).toBe('sound');
    await using store = await openStore({ root });
    expect(store.images()).toEqual([]);
    expect(storeListing(root).filter((path) => path.includes(BIG.digest.slice(7)))).toEqual([]);
  });

  test('what an earlier pull left is damaged: it is fetched anew', async () => {
    await pull(`${proxy.host}/nothing:1`).catch(() => undefined);
    const left = join(root, 'ingest', `download-${BIG.digest.slice(7)}`);
    writeFileSync(left, randomBytes(1 << 20), { mode: 0o600 });
    const { fetched } = await pull(`${proxy.host}/app:1`);
    expect(fetched).toBeGreaterThan(ALL);
    await expectSound();
  });
});

test('killed at any time: the next pull fetches only what is missing', async () => {
  const big = imageOf([1, 2].map((i) => tarOf({ path: `file-${i}`, data: randomBytes(10 << 20) })));
  await putImage(registry.host, 'big', '1', big);
  const all = big.layers.reduce((sum, { size }) => sum + size, 0);
  /** Sends a piece, and then waits. */
  const slow = (bytesAMillisecond: number): void =>
    proxy.reset(({ answer, upstream }) => {
      answer.writeHead(upstream.statusCode ?? 0, upstream.headers);
      upstream.on('data', (piece: Buffer) => {
        upstream.pause();
        // What lies here still has not been sent.
        answer.write(piece, (error) => {
          // Of the client that was killed: the next one's bytes are counted by now.
          if (error) {
            upstream.destroy();
            return;
          }
          proxy.bytes += piece.length;
          setTimeout(() => upstream.resume(), piece.length / bytesAMillisecond);
        });
      });
      upstream.on('end', () => answer.end());
      return true;
    });
  let before = 0;
  for (const target of [0.4, 0.5]) {
    // Slow enough for the client to keep up: what lies in the kernel when it is killed has to come again.
    slow(3000);
    const child = spawn(process.execPath, [CLI, '--root', root, 'pull', `${proxy.host}/big:1`], { stdio: 'ignore' });
    while (proxy.bytes < all * target && child.exitCode === null) await sleep(2);
    expect(child.exitCode).toBeNull();
    child.kill('SIGKILL');
    await once(child, 'exit');
    before += proxy.bytes;
    expect(before).toBeLessThan(all * 1.2);
  }
  proxy.reset();
  const { fetched } = await pull(`${proxy.host}/big:1`);
  // For each of the two layers and the two kills: what lay in buffers, here and on the way, and was not written yet.
  expect(fetched).toBeLessThanOrEqual(all - before + 2 * 2 * (4 << 20));
  expect(fetched).toBeLessThan(all * 0.75);
  expect(proxy.bytes).toBeLessThan(all);
  await expectSound(big);
});

test('fsck --repair takes what is lost again from the registry that an image came from', async () => {
  await pull(`${registry.host}/app:1`);
  const blob = (digest: string): string => join(root, 'blobs', digest.replace(':', '/'));
  const config = JSON.parse((IMAGE.blobs.get(IMAGE.manifest.digest) as Buffer).toString()) as {
    config: { digest: string };
  };
  const object = createHash('sha256').update('base\n').digest('hex');
  for (const path of [
    blob(IMAGE.manifest.digest),
    blob(config.config.digest),
    ...IMAGE.layers.map(({ digest }) => blob(digest)),
    join(root, 'objects', object.slice(0, 2), object.slice(2)),
    join(root, 'layers', IMAGE.diffIDs[1].slice(7), 'tar'),
  ]) {
    rmSync(path);
  }
  const repaired = await layerfs(['--root', root, 'fsck', '--repair']);
  expect([repaired.code, repaired.stdout]).toEqual([7, expect.stringContaining(`${registry.host}/app@sha256:`)]);
  expect((await checkStore(root)).state).toBe('sound');
  expect(await layerfsOk(['--root', root, 'cat', `${registry.host}/app:1`, '/etc/base'])).toBe('base\n');
});

describe('what cannot be had', () => {
  test.each([
    ['app/UPPER', 4],
    ['app:', 4],
    ['app@sha256:12', 4],
    ['HOST/nothing', 3],
    ['HOST/app:none', 3],
  ])('%s ends with exit code %i', async (ref, code) => {
    const result = await layerfs(['--root', root, 'pull', ref.replace('HOST', registry.host)]);
    expect(result.code).toBe(code);
    expect(result.stderr).toMatch(/^layerfs: cannot pull/);
  });

  test.each([
    ['a size that is not the manifest’s', { size: 12 }, 'corrupt'],
    ['a document of 1 GiB', { size: 2 ** 30 }, 'invalid-argument'],
  ])('an index that says %s', async (_, lie, code) => {
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const manifests = [{ ...IMAGE.manifest, ...lie }];
    const server = createServer((request, answer) => {
      const isIndex = request.url?.endsWith('/manifests/1') === true;
      if (isIndex)
        answer.setHeader('content-type', mediaType).end(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
      else if (request.url === '/v2/') answer.end();
      else answer.end(IMAGE.blobs.get(request.url?.slice(request.url.lastIndexOf('/') + 1) ?? ''));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const pulling = pull(`localhost:${(server.address() as AddressInfo).port}/app:1`);
    await expect(pulling).rejects.toMatchObject({ code });
    server.closeAllConnections();
    server.close();
  });

  test('a foreign layer is refused by its type', async () => {
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const foreign = imageOf([tarOf({ path: 'x', data: 'x' })], {
      change: (manifest) => (manifest.layers[0].mediaType = mediaType),
    });
    await putImage(registry.host, 'foreign', '1', foreign);
    const { code, stderr } = await layerfs(['--root', root, 'pull', `${registry.host}/foreign:1`]);
    expect([code, stderr]).toEqual([4, expect.stringContaining('come from elsewhere')]);
  });
});
