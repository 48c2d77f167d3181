import { array, assert, boolean, jsonValue, nat, property } from 'fast-check';
import { expect, test } from 'vitest';
import type { Digest } from '../digest.js';
import { LayerfsError } from '../error.js';
import { layerHistory, parseConfig } from './config.js';
import { parseArchiveManifest } from './docker-archive.js';
import { annotatedName, isAttestation, parseIndex } from './image-index.js';
import { MAX_DOCUMENT } from './json.js';
import { parseManifest } from './manifest.js';

const D = `sha256:${'d'.repeat(64)}` as Digest;
const blob = (mediaType: string, size = 5) => ({ mediaType, digest: D, size });
const MANIFEST = {
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: blob('application/vnd.oci.image.config.v1+json'),
  layers: [blob('application/vnd.oci.image.layer.v1.tar+gzip'), blob('application/vnd.oci.image.layer.v1.tar+zstd')],
  annotations: { a: 'b' },
};
const CONFIG = {
  os: 'linux',
  architecture: 'arm64',
  variant: 'v8',
  created: '2026-01-01T00:00:00Z',
  rootfs: { type: 'layers', diff_ids: [D, D] },
  history: [{ created_by: 'one' }, { created_by: 'nothing', empty_layer: true }, { created_by: 'two', comment: 'c' }],
};
const INDEX = {
  schemaVersion: 2,
  manifests: [
    {
      ...blob('application/vnd.oci.image.manifest.v1+json'),
      platform: { os: 'linux', architecture: 'arm', variant: 'v6' },
      annotations: { 'org.opencontainers.image.ref.name': 'latest' },
    },
  ],
};
const ARCHIVE = [{ Config: 'c.json', RepoTags: ['a:b'], Layers: ['x/layer.tar', './y/layer.tar'] }];

const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const manifest = (value: unknown): unknown => parseManifest(bytes(value), D);

test('a manifest', () => {
  const parsed = parseManifest(bytes(MANIFEST), D);
  expect(parsed.layers.map((layer) => layer.mediaType)).toEqual(MANIFEST.layers.map((layer) => layer.mediaType));
  expect(parsed.annotations).toEqual({ a: 'b' });
  const docker = {
    ...MANIFEST,
    mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
    config: blob('application/vnd.docker.container.image.v1+json'),
    layers: [blob('application/vnd.docker.image.rootfs.diff.tar.gzip')],
  };
  expect(parseManifest(bytes(docker), D).layers).toHaveLength(1);
  expect(parseManifest(bytes({ ...MANIFEST, mediaType: undefined }), D).mediaType).toBe(MANIFEST.mediaType);
});

test.each([
  ['schema version 1', { ...MANIFEST, schemaVersion: 1 }, 'unimplemented'],
  ['schemaVersion', { ...MANIFEST, schemaVersion: 3 }, 'invalid-argument'],
  ['schemaVersion', { ...MANIFEST, schemaVersion: undefined }, 'invalid-argument'],
  ['mediaType', { ...MANIFEST, mediaType: 'text/plain' }, 'unimplemented'],
  ['index', { ...MANIFEST, mediaType: 'application/vnd.oci.image.index.v1+json' }, 'invalid-argument'],
  ['config', { ...MANIFEST, config: undefined }, 'invalid-argument'],
  ['no container image', { ...MANIFEST, config: blob('application/vnd.cncf.helm.config.v1+json') }, 'unimplemented'],
  ['layers', { ...MANIFEST, layers: undefined }, 'invalid-argument'],
  ['layers', { ...MANIFEST, layers: [] }, 'invalid-argument'],
  ['layers', { ...MANIFEST, layers: {} }, 'invalid-argument'],
  ['layers', { ...MANIFEST, layers: Array.from({ length: 2000 }, () => MANIFEST.layers[0]) }, 'invalid-argument'],
  ['layers[0], field size', { ...MANIFEST, layers: [{ ...MANIFEST.layers[0], size: -1 }] }, 'invalid-argument'],
  ['layers[0], field size', { ...MANIFEST, layers: [{ ...MANIFEST.layers[0], size: 2 ** 53 }] }, 'invalid-argument'],
  ['layers[0], field size', { ...MANIFEST, layers: [{ ...MANIFEST.layers[0], size: '5' }] }, 'invalid-argument'],
  ['layers[0], field digest', { ...MANIFEST, layers: [{ ...MANIFEST.layers[0], digest: 'x' }] }, 'invalid-argument'],
  ['sha256', { ...MANIFEST, layers: [{ ...MANIFEST.layers[0], digest: 'md5:aa' }] }, 'unimplemented'],
  ['media type', { ...MANIFEST, layers: [blob('application/x-brotli')] }, 'unimplemented'],
  ['annotations', { ...MANIFEST, annotations: { a: 1 } }, 'invalid-argument'],
  ['object', [], 'invalid-argument'],
  ['object', null, 'invalid-argument'],
])('a manifest with a wrong %s is refused by name', (names, value, code) => {
  expect(() => manifest(value)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(names) as string }) as Error,
  );
});

test('documents are bounded before they are parsed', () => {
  expect(() => parseManifest(new Uint8Array(MAX_DOCUMENT + 1), D)).toThrow(/bytes/);
  expect(() => parseManifest(Uint8Array.of(0xff, 0xfe), D)).toThrow(/UTF-8/);
  expect(() => parseManifest(new TextEncoder().encode('['.repeat(1_000_000)), D)).toThrow(LayerfsError);
});

test('a config', () => {
  const config = parseConfig(bytes(CONFIG), D);
  expect(config.platform).toEqual({ os: 'linux', architecture: 'arm64' });
  expect(layerHistory(config).map((step) => step?.createdBy)).toEqual(['one', 'two']);
  expect(layerHistory(parseConfig(bytes({ ...CONFIG, history: null }), D))).toEqual([undefined, undefined]);
  expect(() => parseConfig(bytes({ ...CONFIG, rootfs: { diff_ids: ['sha256:1'] } }), D)).toThrow(/diff_ids\[0\]/);
  expect(() => parseConfig(bytes({ ...CONFIG, rootfs: undefined }), D)).toThrow(/rootfs/);
  expect(() => parseConfig(bytes({ ...CONFIG, rootfs: { type: 'chunks', diff_ids: [] } }), D)).toThrow(/type/);
});

test('an index', () => {
  const { manifests } = parseIndex(bytes(INDEX), 'index.json');
  expect(manifests[0].platform).toEqual({ os: 'linux', architecture: 'arm', variant: 'v6' });
  expect(annotatedName(manifests[0])).toEqual({ tag: 'latest' });
  expect(isAttestation(manifests[0])).toBe(false);
  expect(isAttestation({ ...manifests[0], platform: { os: 'unknown', architecture: 'unknown' } })).toBe(true);
  expect(() => parseIndex(bytes({ schemaVersion: 2 }), 'index.json')).toThrow(/index\.json, field manifests/);
});

test('a docker archive', () => {
  expect(parseArchiveManifest(bytes(ARCHIVE))[0].layers).toEqual(['x/layer.tar', 'y/layer.tar']);
  for (const path of ['/etc/passwd', '../x', 'a/../../x', '']) {
    expect(() => parseArchiveManifest(bytes([{ ...ARCHIVE[0], Layers: [path] }]))).toThrow(/Layers\[0\]/);
  }
  expect(() => parseArchiveManifest(bytes([]))).toThrow(/no image/);
});

/** Replaces one value somewhere in a document by another. */
function changed(value: unknown, path: readonly number[], by: unknown): unknown {
  if (path.length === 0 || typeof value !== 'object' || value === null) return by;
  const keys = Object.keys(value);
  if (keys.length === 0) return by;
  const key = keys[path[0] % keys.length];
  const inner = changed((value as Record<string, unknown>)[key], path.slice(1), by);
  return Array.isArray(value)
    ? value.map((each: unknown, i) => (String(i) === key ? inner : each))
    : { ...value, [key]: inner };
}

const PARSERS: [name: string, sound: unknown, parse: (bytes: Uint8Array) => unknown][] = [
  ['manifest', MANIFEST, (b) => parseManifest(b, D)],
  ['index', INDEX, (b) => parseIndex(b, 'index.json')],
  ['config', CONFIG, (b) => layerHistory(parseConfig(b, D))],
  ['docker archive', ARCHIVE, (b) => parseArchiveManifest(b)],
];

test.each(PARSERS)('3,000 damaged documents: a %s parses or is refused with an error of ours', (_, sound, parse) => {
  let refused = 0;
  const attempt = (input: Uint8Array): void => {
    try {
      parse(input);
    } catch (error) {
      expect(error).toBeInstanceOf(LayerfsError);
      expect((error as Error).message.length).toBeLessThan(600);
      refused++;
    }
  };
  assert(
    property(array(nat(20), { minLength: 1, maxLength: 5 }), jsonValue({ maxDepth: 2 }), (path, by) =>
      attempt(bytes(changed(sound, path, by))),
    ),
    { numRuns: 1500, seed: 42 },
  );
  const whole = bytes(sound);
  assert(
    property(nat(whole.length - 1), nat(255), boolean(), (at, byte, cut) => {
      const damaged = Uint8Array.from(whole);
      damaged[at] = byte;
      attempt(cut ? damaged.subarray(0, at) : damaged);
    }),
    { numRuns: 1500, seed: 43 },
  );
  expect(refused).toBeGreaterThan(1000);
});
