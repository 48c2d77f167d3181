import { expect, it } from 'vitest';
import { FORMS, isKey, parseJson } from './record-forms.js';

const digest = `sha256:${'a'.repeat(64)}`;
const layer = { diffID: digest, digest, mediaType: 't', size: 1 };
const image = {
  digest,
  mediaType: 't',
  size: 2,
  config: digest,
  platform: '',
  chainID: digest,
  imported: 'x',
  layers: [layer],
};

it('takes records as they are written', () => {
  expect(FORMS.names(digest)).toBe(digest);
  expect(FORMS.images(image)).toEqual(image);
  expect(FORMS.layers({ size: 1, contentSize: 2, entries: 3, objects: 4 })).toBeDefined();
  expect(FORMS.blobs({ diffID: digest, size: 1, mediaType: '' })).toBeDefined();
  expect(FORMS.snapshots({ id: '0f', ref: 'a', created: 'x', image })).toBeDefined();
  expect(FORMS.removals({ next: 0 })).toEqual({ next: 0 });
});

it('takes nothing else, whatever it is', () => {
  for (const value of [undefined, null, 1, 'x', [], {}, { ...image, layers: 3 }, { digest: `${digest}0` }]) {
    for (const form of Object.values(FORMS)) expect(form(value)).toBeUndefined();
  }
  expect(FORMS.images({ ...image, layers: [] })).toBeUndefined();
  expect(FORMS.images({ ...image, layers: [{ ...layer, size: -1 }] })).toBeUndefined();
  // The id becomes part of a path.
  expect(FORMS.snapshots({ id: '../..', ref: 'a', created: 'x', image })).toBeUndefined();
  expect(FORMS.layers({ size: 1.5, contentSize: 2, entries: 3, objects: 4 })).toBeUndefined();
  expect(parseJson('{"a":')).toBeUndefined();
});

it('knows keys', () => {
  expect([isKey('layers', digest), isKey('layers', 'x'), isKey('names', 'x'), isKey('names', '')]).toEqual([
    true,
    false,
    true,
    false,
  ]);
});
