import { expect, test } from 'vitest';
import type { Digest } from '../digest.js';
import { readBundle } from './bundle.js';
import type { Descriptor } from './descriptor.js';
import { MEDIA_TYPE } from './media-types.js';

const digest = (letter: string): Digest => `sha256:${letter.repeat(64)}` as Digest;
const entry = (letter: string, mediaType: string = MEDIA_TYPE.index, size = 100): Descriptor => ({
  mediaType,
  digest: digest(letter),
  size,
});
const index = (...manifests: Descriptor[]): object => ({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests });
const manifest = (layer: string): object => ({
  schemaVersion: 2,
  mediaType: MEDIA_TYPE.manifest,
  config: { ...entry('c', MEDIA_TYPE.config) },
  layers: [entry(layer, 'application/vnd.in-toto+json')],
});

function read(documents: Record<string, object>): (descriptor: Descriptor) => Promise<Uint8Array> {
  return ({ digest }) => Promise.resolve(Buffer.from(JSON.stringify(documents[digest.at(-1) ?? ''])));
}

test('what an index refers to comes before it, each once, with its blobs', async () => {
  const one = entry('1', MEDIA_TYPE.manifest);
  const documents = { 0: index(one, entry('a'), one), a: index(entry('2', MEDIA_TYPE.manifest)) };
  const found = await readBundle(entry('0'), 'x', read({ ...documents, 1: manifest('d'), 2: manifest('e') }));
  expect(found.map(({ descriptor }) => descriptor.digest)).toEqual(['1', '2', 'a', '0'].map(digest));
  expect(found.map(({ blobs }) => blobs.map((blob) => blob.digest))).toEqual([
    [digest('c'), digest('d')],
    [digest('c'), digest('e')],
    [],
    [],
  ]);
});

test.each([
  ['itself', { 0: index(entry('a')), a: index(entry('0')) }, 'invalid-argument', /leads back/],
  ['something else', { 0: index(entry('a', 'text/plain')) }, 'unimplemented', /text\/plain/],
  ['too much', { 0: index(entry('a', MEDIA_TYPE.manifest, 2 ** 30)) }, 'resource-exhausted', /bytes together/],
])('an index that leads to %s', async (_, documents, code, message) => {
  const reading = readBundle(entry('0'), 'x', read(documents));
  await expect(reading).rejects.toMatchObject({ code });
  await expect(reading).rejects.toThrow(message);
});

test('indexes that are nested too deep', async () => {
  const letters = '0123456789ab';
  const documents = Object.fromEntries(letters.split('').map((one, i) => [one, index(entry(letters[i + 1] ?? 'f'))]));
  await expect(readBundle(entry('0'), 'x', read(documents))).rejects.toThrow(/deep/);
});
