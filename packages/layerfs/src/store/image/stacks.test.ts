import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { chainIDs, type ChainID, type Digest, type DiffID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import type { ImageRecord } from '../meta.js';
import { StackIndex } from './stacks.js';

const diffID = (name: string): DiffID => `sha256:${createHash('sha256').update(name).digest('hex')}` as DiffID;
const chain = (...names: string[]): ChainID =>
  chainIDs(names.map(diffID), (bytes) => createHash('sha256').update(bytes).digest()).at(-1)!;

test('finds what images begin with, as they come and go, and reads each once', () => {
  const images = new Map<Digest, ImageRecord>();
  const gone = new Set<DiffID>();
  let reads = 0;
  const add = (name: string, ...layers: string[]): void => {
    images.set(name as Digest, { layers: layers.map((each) => ({ diffID: diffID(each) })) } as unknown as ImageRecord);
  };
  const meta = {
    imageDigests: () => [...images.keys()],
    image: (digest: Digest) => {
      reads++;
      return images.get(digest);
    },
    layer: (id: DiffID) => (gone.has(id) ? undefined : { contentSize: 7, entries: 3 }),
  };
  const context = { meta } as unknown as StoreContext;
  const index = new StackIndex();
  const layersOf = (...names: string[]): number | undefined => index.find(context, chain(...names))?.diffIDs.length;

  expect(layersOf('a')).toBeUndefined();
  add('one', 'a', 'b');
  add('two', 'a', 'c');
  expect(index.find(context, chain('a', 'b'))).toEqual({
    chainID: chain('a', 'b'),
    diffIDs: [diffID('a'), diffID('b')],
    contentSize: 7,
    entries: 3,
  });
  reads = 0;
  expect([layersOf('a'), layersOf('a', 'c'), layersOf('b'), layersOf('c', 'a')]).toEqual([1, 2, undefined, undefined]);
  expect(reads).toBe(2);
  images.delete('one' as Digest);
  expect([layersOf('a'), layersOf('a', 'b')]).toEqual([1, undefined]);
  add('one', 'a', 'b');
  expect(layersOf('a', 'b')).toBe(2);
  gone.add(diffID('b'));
  expect(layersOf('a', 'b')).toBeUndefined();
});
