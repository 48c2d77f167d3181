/** `layerfs push` to, and `layerfs tags` of, real registries on loopback. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { checkStore, openStore, Registry, type PushResult } from 'layerfs';
import { imageOf, layoutOf, tarOf } from '../../packages/layerfs/dist/store/small-images.test-support.js';
import { run } from '../images/oci.js';
import { CLI, layerfs, layerfsOk } from '../support/cli.js';
import { missing, need } from '../support/needs.js';
import { digestAt, FaultProxy, makeCertificate, putImage, TestRegistry, USER } from '../support/registry.js';
import { scratchFolder } from '../support/scratch.js';

const here = missing('docker-registry') === undefined;
const IMAGE = imageOf([
  tarOf({ path: 'etc/' }, { path: 'etc/base', data: 'base\n' }),
  tarOf({ path: 'one', data: randomBytes(1 << 20) }),
]);

let registry: TestRegistry;
let work: string;
let root: string;

beforeAll(async () => {
  if (here) registry = await TestRegistry.start();
});

afterAll(async () => {
  if (here) await registry.stop();
});

beforeEach((context) => {
  need(context, 'docker-registry');
  work = scratchFolder('layerfs-push-');
  root = join(work, 'store');
});

afterEach(() => {
  if (here) rmSync(work, { recursive: true, force: true });
});

async function push(...args: string[]): Promise<PushResult> {
  return JSON.parse(await layerfsOk(['--root', root, 'push', '--json', ...args])) as PushResult;
}

test('an image that was pulled is pushed with its digest; nothing is sent that is there', async (context) => {
  need(context, 'skopeo');
  await putImage(registry.host, 'from', '1', IMAGE);
  await layerfsOk(['--root', root, 'pull', `${registry.host}/from:1`]);
  const image = `${registry.host}/from:1`;
  expect(await push(image)).toMatchObject({ digest: IMAGE.manifest.digest, uploaded: 0, mounted: 0, existing: 3 });
  // Another repository of the same registry gives its blobs.
  expect(await push(image, `${registry.host}/to:1`)).toMatchObject({ uploaded: 0, mounted: 3, bytes: 0 });
  expect(await push(image, `${registry.host}/to:2`)).toMatchObject({ mounted: 0, existing: 3 });
  expect(await digestAt(`${registry.host}/to:2`)).toBe(IMAGE.manifest.digest);
  const copy = join(work, 'copy');
  // Without credentials: who is not root may have none that can be read.
  const plain = ['--src-tls-verify=false', '--src-no-creds'];
  await run('skopeo', ['copy', '-q', ...plain, `docker://${registry.host}/to:1`, `oci:${copy}:x`]);
  const index = JSON.parse(readFileSync(join(copy, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
  expect(index.manifests[0].digest).toBe(IMAGE.manifest.digest);
  const tags = await layerfsOk(['tags', `${registry.host}/to`]);
  expect(tags.trim().split('\n').toSorted()).toEqual(['1', '2']);
});

test('an image that was imported is sent; without its compressed blobs it is another one of the same content', async () => {
  await layerfsOk(['--root', root, 'import', layoutOf(join(work, 'in'), { latest: IMAGE }), '--name', 'app']);
  const all = [...IMAGE.blobs.values()].reduce((sum, { length }) => sum + length, 0) - IMAGE.manifest.size;
  const first = await push('app', `${registry.host}/sent:1`);
  expect(first).toMatchObject({ digest: IMAGE.manifest.digest, rebuilt: false, uploaded: 3, bytes: all });
  expect(await digestAt(`${registry.host}/sent:1`)).toBe(IMAGE.manifest.digest);
  await layerfsOk(['--root', root, 'prune', '--blobs']);
  const second = await push('app', `${registry.host}/sent:2`);
  expect(second.rebuilt).toBe(true);
  const other = join(work, 'other');
  await layerfsOk(['--root', other, 'pull', `${registry.host}/sent:2`]);
  expect(await layerfsOk(['--root', other, 'cat', `${registry.host}/sent:2`, '/etc/base'])).toBe('base\n');
});

test('a push that is killed is gone on with: the registry’s upload is known to the next one', async () => {
  // Several chunks; content that does not compress.
  const big = imageOf([tarOf({ path: 'file', data: randomBytes(40 << 20) })]);
  await layerfsOk(['--root', root, 'import', layoutOf(join(work, 'in'), { latest: big }), '--name', 'big']);
  const proxy = await FaultProxy.start(registry.host);
  try {
    const ref = `${proxy.host}/killed:1`;
    let chunks = 0;
    const sent: number[] = [];
    let child: ChildProcess | undefined;
    proxy.onRequest = ({ method, headers }) => {
      if (method !== 'PATCH') return undefined;
      sent.push(Number(headers['content-range']?.split('-')[0]));
      // Between two chunks: docker-registry cannot go on with one of which it got a part.
      if (++chunks === 3) {
        child?.kill('SIGKILL');
        return true;
      }
      return undefined;
    };
    child = spawn(process.execPath, [CLI, '--root', root, 'push', 'big', ref], { stdio: 'ignore' });
    await once(child, 'exit');
    expect(sent).toEqual([0, 8 << 20, 16 << 20]);
    expect(readdirSync(join(root, 'ingest')).filter((name) => name.startsWith('upload-'))).toHaveLength(1);
    const { problems } = await checkStore(root);
    expect(problems.filter(({ path }) => path.includes('upload-'))).toEqual([]);
    sent.length = 0;
    expect(await push('big', ref)).toMatchObject({ digest: big.manifest.digest });
    expect(sent[0]).toBe(16 << 20);
    expect(readdirSync(join(root, 'ingest'))).toEqual([]);
    expect(await digestAt(`${registry.host}/killed:1`)).toBe(big.manifest.digest);
  } finally {
    await proxy.stop();
  }
});

test('a chunk of which a registry got a part: it is sent again, or all of it', async () => {
  const big = imageOf([tarOf({ path: 'file', data: randomBytes(20 << 20) })]);
  await layerfsOk(['--root', root, 'import', layoutOf(join(work, 'in'), { latest: big }), '--name', 'big']);
  const proxy = await FaultProxy.start(registry.host);
  try {
    let cut = 0;
    proxy.onRequest = ({ method, headers }, forward) => {
      if (method !== 'PATCH' || headers['content-range']?.startsWith('8388608-') !== true || cut++ > 0)
        return undefined;
      forward(1 << 20);
      return true;
    };
    expect(await push('big', `${proxy.host}/part:1`)).toMatchObject({ digest: big.manifest.digest, uploaded: 2 });
    expect(cut).toBeGreaterThan(0);
    expect(await digestAt(`${registry.host}/part:1`)).toBe(big.manifest.digest);
    const other = join(work, 'other');
    await layerfsOk(['--root', other, 'pull', `${registry.host}/part:1`]);
    expect((await checkStore(other)).state).toBe('sound');
  } finally {
    await proxy.stop();
  }
});

test('a push through a connection that breaks, and one that is not allowed', async (context) => {
  need(context, 'openssl');
  await layerfsOk(['--root', root, 'import', layoutOf(join(work, 'in'), { latest: IMAGE }), '--name', 'app']);
  const proxy = await FaultProxy.start(registry.host);
  let broken = 0;
  proxy.meddle = ({ answer }) => {
    if (broken++ > 1) return false;
    answer.destroy();
    return true;
  };
  const client = new Registry({ retry: { first: 5, longest: 20 }, hostFolders: [] });
  await using store = await openStore({ root });
  await store.push('app', { to: `${proxy.host}/broken:1`, registry: client });
  client.close();
  await proxy.stop();
  expect(broken).toBeGreaterThan(2);
  expect(await digestAt(`${registry.host}/broken:1`)).toBe(IMAGE.manifest.digest);
  const tls = await makeCertificate(work);
  const closed = await TestRegistry.start({ tls, password: true });
  try {
    const env = { DOCKER_CONFIG: work, HOME: work, XDG_RUNTIME_DIR: work };
    const args = ['--root', root, 'push', 'app', `${closed.host}/app:1`, '--ca', tls.cert];
    expect((await layerfs(args, { env })).code).toBe(5);
    const auth = Buffer.from(`${USER.name}:${USER.password}`).toString('base64');
    writeFileSync(join(work, 'config.json'), JSON.stringify({ auths: { [closed.host]: { auth } } }));
    expect(await layerfs(args, { env })).toMatchObject({ code: 0, stderr: '' });
    expect((await layerfs(['tags', `${closed.host}/app`, '--ca', tls.cert], { env })).stdout).toBe('1\n');
  } finally {
    await closed.stop();
  }
});
