/** `layerfs copy` between real registries on loopback, and indexes that are pulled and pushed whole. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { checkStore, openStore, Registry, type CopyResult, type PullResult, type PushResult } from 'layerfs';
import { imageOf, tarOf, type SmallImage } from '../../packages/layerfs/dist/store/small-images.test-support.js';
import { CLI, layerfs, layerfsOk } from '../support/cli.js';
import { missing, need } from '../support/needs.js';
import { digestAt, FaultProxy, putImage, TestRegistry } from '../support/registry.js';
import { scratchFolder } from '../support/scratch.js';

const here = missing('docker-registry') === undefined;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE = imageOf([tarOf({ path: 'one', data: randomBytes(1 << 20) }), tarOf({ path: 'two', data: 'two\n' })]);
const OTHER = imageOf([tarOf({ path: 'other', data: randomBytes(5000) })], { config: { architecture: 's390x' } });
const LAYERS = IMAGE.layers.reduce((sum, { size }) => sum + size, 0);

let one: TestRegistry;
let two: TestRegistry;
let work: string;
let root: string;
/** Digest of the index that `one` has as `multi:1`: two images, and an attestation in an index of its own. */
let index: string;

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function putDocument(
  host: string,
  path: string,
  value: object,
  type: string,
): Promise<{ digest: string; size: number }> {
  const bytes = Buffer.from(JSON.stringify(value));
  const digest = digestOf(bytes);
  const target = path.endsWith('/') ? `${path}${digest}` : path;
  const put = await fetch(`http://${host}/v2/${target}`, {
    method: 'PUT',
    body: bytes,
    headers: { 'content-type': type },
  });
  if (put.status !== 201) throw new Error(`${target}: ${put.status} ${await put.text()}`);
  return { digest, size: bytes.length };
}

/** An image of what a build says about another one: its layer is no layer of files. */
function attestationOf(subject: SmallImage): SmallImage {
  const made = imageOf([Buffer.from(JSON.stringify({ _type: 'statement', subject: subject.manifest.digest }))], {
    change: (manifest) => (manifest.layers[0].mediaType = 'application/vnd.in-toto+json'),
  });
  return made;
}

beforeAll(async () => {
  if (!here) return;
  [one, two] = [await TestRegistry.start(), await TestRegistry.start()];
  await putImage(one.host, 'app', '1', IMAGE);
  const attestation = attestationOf(IMAGE);
  for (const [tag, image] of Object.entries({ a: IMAGE, b: OTHER, c: attestation })) {
    await putImage(one.host, 'multi', tag, image);
  }
  const arch = { x64: 'amd64' }[process.arch as string] ?? process.arch;
  const nested = {
    schemaVersion: 2,
    mediaType: INDEX,
    manifests: [
      {
        ...attestation.manifest,
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
      },
    ],
  };
  const inner = await putDocument(one.host, 'multi/manifests/', nested, INDEX);
  const top = {
    schemaVersion: 2,
    mediaType: INDEX,
    manifests: [
      { ...OTHER.manifest, platform: { os: 'linux', architecture: 's390x' } },
      { ...IMAGE.manifest, platform: { os: 'linux', architecture: arch } },
      { mediaType: INDEX, ...inner },
    ],
  };
  index = (await putDocument(one.host, 'multi/manifests/1', top, INDEX)).digest;
});

afterAll(async () => {
  if (!here) return;
  await one.stop();
  await two.stop();
});

beforeEach((context) => {
  need(context, 'docker-registry');
  work = scratchFolder('layerfs-copy-');
  root = join(work, 'store');
});

afterEach(() => {
  if (here) rmSync(work, { recursive: true, force: true });
});

async function copy(...args: string[]): Promise<CopyResult> {
  return JSON.parse(await layerfsOk(['--root', root, 'copy', '--json', ...args])) as CopyResult;
}

/** Pulls it elsewhere, which verifies everything. */
async function expectWhole(ref: string, digests: readonly string[]): Promise<void> {
  const other = join(work, `other-${randomBytes(4).toString('hex')}`);
  const { images } = JSON.parse(
    await layerfsOk(['--root', other, 'pull', ref, '--all-platforms', '--json']),
  ) as PullResult;
  expect(images.map(({ digest }) => digest).toSorted()).toEqual([...digests].toSorted());
  expect((await checkStore(other)).state).toBe('sound');
}

test('an image goes from one registry to another with its digest, and nothing of it is kept', async () => {
  const to = `${two.host}/copied:1`;
  const first = await copy(`${one.host}/app:1`, to);
  expect(first).toMatchObject({ digest: IMAGE.manifest.digest, uploaded: 3, existing: 0 });
  expect(first.fetched).toBeGreaterThanOrEqual(LAYERS);
  expect(await digestAt(to)).toBe(IMAGE.manifest.digest);
  await expectWhole(to, [IMAGE.manifest.digest]);
  expect(readdirSync(join(root, 'blobs/sha256'))).toEqual([]);
  expect(readdirSync(join(root, 'ingest'))).toEqual([]);
  expect(await copy(`${one.host}/app:1`, to)).toMatchObject({ uploaded: 0, existing: 3, fetched: 0 });
  // By digest alone, and to a tag of its own.
  const byDigest = `${one.host}/app@${IMAGE.manifest.digest}`;
  expect(await copy(byDigest, `${two.host}/copied:2`)).toMatchObject({ digest: IMAGE.manifest.digest });
  const wrong = await layerfs(['--root', root, 'copy', byDigest, `${two.host}/copied@${OTHER.manifest.digest}`]);
  expect([wrong.code, wrong.stderr]).toEqual([4, expect.stringContaining('has digest')]);
});

test('within a registry the blobs are mounted; what the store has is not fetched', async () => {
  expect(await copy(`${one.host}/app:1`, `${one.host}/beside:1`)).toMatchObject({
    mounted: 3,
    uploaded: 0,
    fetched: 0,
  });
  expect(await digestAt(`${one.host}/beside:1`)).toBe(IMAGE.manifest.digest);
  await layerfsOk(['--root', root, 'pull', `${one.host}/app:1`]);
  const fromStore = await copy(`${one.host}/app:1`, `${two.host}/from-store:1`);
  expect(fromStore.uploaded).toBe(3);
  // Only the config, which is no layer.
  expect(fromStore.fetched).toBeLessThan(1000);
  await expectWhole(`${two.host}/from-store:1`, [IMAGE.manifest.digest]);
});

test('of an index: one platform, or all of it as it is', async () => {
  const ref = `${one.host}/multi:1`;
  expect(await copy(ref, `${two.host}/multi:mine`)).toMatchObject({ digest: IMAGE.manifest.digest });
  expect(await copy(ref, `${two.host}/multi:s390x`, '--platform', 'linux/s390x')).toMatchObject({
    digest: OTHER.manifest.digest,
  });
  expect(await copy(ref, `${two.host}/multi:all`, '--all-platforms')).toMatchObject({ digest: index });
  expect(await digestAt(`${two.host}/multi:all`)).toBe(index);
  await expectWhole(`${two.host}/multi:all`, [IMAGE.manifest.digest, OTHER.manifest.digest]);
  const none = await layerfs(['--root', root, 'copy', ref, `${two.host}/multi:x`, '--platform', 'linux/riscv64']);
  expect([none.code, none.stderr]).toEqual([3, expect.stringContaining('there is linux/s390x')]);
  expect((await layerfs(['--root', root, 'copy', `${one.host}/none:1`, `${two.host}/x:1`])).code).toBe(3);
});

test('an index that was pulled with all platforms is pushed with its digest, attestations and all', async () => {
  const ref = `${one.host}/multi:1`;
  await layerfsOk(['--root', root, 'pull', ref, '--all-platforms']);
  await layerfsOk(['--root', root, 'gc']);
  expect((await checkStore(root)).state).toBe('sound');
  const push = async (to: string, ...args: string[]): Promise<PushResult> =>
    JSON.parse(await layerfsOk(['--root', root, 'push', ref, to, '--json', ...args])) as PushResult;
  expect(await push(`${two.host}/whole:1`, '--all-platforms')).toMatchObject({ digest: index, uploaded: 7 });
  expect(await digestAt(`${two.host}/whole:1`)).toBe(index);
  await expectWhole(`${two.host}/whole:1`, [IMAGE.manifest.digest, OTHER.manifest.digest]);
  expect(await push(`${two.host}/whole:mine`)).toMatchObject({ digest: IMAGE.manifest.digest });
  // Another pull of one platform does not forget it.
  await layerfsOk(['--root', root, 'pull', ref]);
  expect(await push(`${two.host}/whole:2`, '--all-platforms')).toMatchObject({ digest: index });
  // What is lost of it comes again, and the record keeps it when it is written anew.
  rmSync(join(root, 'blobs', index.replace(':', '/')));
  const damaged = await layerfs(['--root', root, 'fsck']);
  expect([damaged.code, damaged.stdout]).toEqual([8, expect.stringContaining(index.slice(7))]);
  expect((await layerfs(['--root', root, 'fsck', '--repair'])).code).toBe(7);
  expect(await push(`${two.host}/whole:3`, '--all-platforms')).toMatchObject({ digest: index });
  // Without one of its images it is no whole any more, and with the last one it goes.
  await layerfsOk(['--root', root, 'rmi', `${ref}-linux-s390x`]);
  const part = await layerfs(['--root', root, 'push', ref, `${two.host}/whole:4`, '--all-platforms']);
  expect([part.code, part.stderr]).toEqual([3, expect.stringContaining('was removed')]);
  await layerfsOk(['--root', root, 'rmi', ref]);
  await layerfsOk(['--root', root, 'gc']);
  expect(readdirSync(join(root, 'blobs/sha256'))).toEqual([]);
});

/** An index of an image and of something that is none, with one blob. */
async function putWithBeside(
  tag: string,
  blob: Buffer,
  claimed: { size?: number } = {},
): Promise<{ index: string; blob: Buffer }> {
  const beside = imageOf([blob], {
    change: (manifest) => (manifest.layers[0].mediaType = 'application/vnd.in-toto+json'),
  });
  await putImage(one.host, 'beside', 'app', IMAGE);
  await putImage(one.host, 'beside', 'blobs', beside);
  const statement = JSON.parse(String(beside.blobs.get(beside.manifest.digest))) as { layers: object[] };
  Object.assign(statement.layers[0], claimed);
  const put = await putDocument(one.host, 'beside/manifests/', statement, beside.manifest.mediaType);
  const arch = { x64: 'amd64' }[process.arch as string] ?? process.arch;
  const top = {
    schemaVersion: 2,
    mediaType: INDEX,
    manifests: [
      { ...IMAGE.manifest, platform: { os: 'linux', architecture: arch } },
      { ...beside.manifest, ...put, platform: { os: 'unknown', architecture: 'unknown' } },
    ],
  };
  const { digest } = await putDocument(one.host, `beside/manifests/${tag}`, top, INDEX);
  return { index: digest, blob: beside.blobs.get(beside.layers[0].digest) as Buffer };
}

test('an attestation that is larger than any document comes, is repaired, and is pushed with the index', async () => {
  const { index: digest, blob: large } = await putWithBeside('large', randomBytes(9 << 20));
  const ref = `${one.host}/beside:large`;
  await layerfsOk(['--root', root, 'pull', ref, '--all-platforms']);
  await layerfsOk(['--root', root, 'gc']);
  expect((await checkStore(root)).state).toBe('sound');
  const file = join(root, 'blobs', digestOf(large).replace(':', '/'));
  expect([readFileSync(file).equals(large), statSync(file).mode & 0o777]).toEqual([true, 0o400]);
  // From the store, if it is sound there.
  rmSync(file);
  writeFileSync(file, randomBytes(9 << 20), { mode: 0o400 });
  await layerfsOk(['--root', root, 'pull', ref, '--all-platforms']);
  expect(readFileSync(file).equals(large)).toBe(true);
  rmSync(file);
  expect((await layerfs(['--root', root, 'fsck', '--repair'])).code).toBe(7);
  await layerfsOk(['--root', root, 'push', ref, `${two.host}/large:1`, '--all-platforms']);
  expect(await digestAt(`${two.host}/large:1`)).toBe(digest);
  await expectWhole(`${two.host}/large:1`, [IMAGE.manifest.digest]);
});

test('one that is larger than what is kept, or nowhere, is left out with a note, and nothing of it comes', async () => {
  await putWithBeside('huge', randomBytes(100), { size: 2 ** 40 });
  const huge = await layerfs(['--root', root, 'pull', `${one.host}/beside:huge`, '--all-platforms']);
  expect([huge.code, huge.stderr]).toEqual([0, expect.stringMatching(/index itself is not kept.*1099511627776/)]);
  const { blob: lost } = await putWithBeside('lost', randomBytes(100));
  rmSync(
    join(one.folder, 'data/docker/registry/v2/blobs/sha256', digestOf(lost).slice(7, 9), digestOf(lost).slice(7)),
    {
      recursive: true,
    },
  );
  const gone = await layerfs(['--root', root, 'pull', `${one.host}/beside:lost`, '--all-platforms']);
  expect([gone.code, gone.stderr]).toEqual([0, expect.stringMatching(/index itself is not kept.*not found/)]);
  expect((await checkStore(root)).state).toBe('sound');
});

test('an image that came alone has no index; dropped blobs make a whole one impossible', async () => {
  await layerfsOk(['--root', root, 'pull', `${one.host}/app:1`]);
  const alone = await layerfs(['--root', root, 'push', `${one.host}/app:1`, `${two.host}/x:1`, '--all-platforms']);
  expect([alone.code, alone.stderr]).toEqual([3, expect.stringContaining('no index')]);
  await layerfsOk(['--root', root, 'pull', `${one.host}/multi:1`, '--all-platforms']);
  await layerfsOk(['--root', root, 'prune', '--blobs']);
  const dropped = await layerfs(['--root', root, 'push', `${one.host}/multi:1`, `${two.host}/x:1`, '--all-platforms']);
  expect([dropped.code, dropped.stderr]).toEqual([6, expect.stringContaining('dropped')]);
});

test('a copy that is killed is gone on with, and fetches only the rest', async () => {
  const big = imageOf([tarOf({ path: 'file', data: randomBytes(40 << 20) })]);
  await putImage(one.host, 'big', '1', big);
  const [from, to] = [await FaultProxy.start(one.host), await FaultProxy.start(two.host)];
  try {
    let child: ChildProcess | undefined;
    let chunks = 0;
    to.onRequest = ({ method }) => {
      if (method !== 'PATCH' || ++chunks !== 4) return undefined;
      child?.kill('SIGKILL');
      return true;
    };
    const args = ['--root', root, 'copy', `${from.host}/big:1`, `${to.host}/big:1`];
    child = spawn(process.execPath, [CLI, ...args], { stdio: 'ignore' });
    await once(child, 'exit');
    expect(chunks).toBe(4);
    from.reset();
    const { fetched, digest } = await copy(`${from.host}/big:1`, `${to.host}/big:1`);
    expect(digest).toBe(big.manifest.digest);
    expect(fetched).toBeLessThan(big.layers[0].size - (24 << 20) + 10_000);
    await expectWhole(`${two.host}/big:1`, [big.manifest.digest]);
  } finally {
    await from.stop();
    await to.stop();
  }
});

test('a source whose bytes are wrong: a clear error, and no tag', async () => {
  const proxy = await FaultProxy.start(one.host);
  proxy.meddle = ({ request, answer, upstream }) => {
    const bytes = IMAGE.blobs.get(IMAGE.layers[0].digest) as Buffer;
    if (request.url?.endsWith(IMAGE.layers[0].digest) !== true) return false;
    upstream.resume();
    answer.writeHead(200, { 'content-length': bytes.length }).end(Buffer.from(bytes).fill(0, 5000, 5100));
    return true;
  };
  const client = new Registry({ retry: { first: 5, longest: 20 }, hostFolders: [] });
  await using store = await openStore({ root });
  try {
    await expect(store.copy(`${proxy.host}/app:1`, `${two.host}/wrong:1`, { registry: client })).rejects.toMatchObject({
      code: 'corrupt',
    });
    await expect(client.manifest(`${two.host}/wrong:1`)).rejects.toMatchObject({ code: 'not-found' });
  } finally {
    client.close();
    await proxy.stop();
  }
});
