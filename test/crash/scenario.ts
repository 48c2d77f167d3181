/** What is done to a store while it is recorded, and how it then must look. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStore, type Store } from 'layerfs';
import { BASE, imageOf, layoutOf, tarOf, two } from './internals.js';

/** What a store holds, as far as its users are concerned: names, and names of snapshots. */
export interface World {
  readonly images: ReadonlySet<string>;
  readonly snapshots: ReadonlySet<string>;
}

/** One command. It may be run again after it was interrupted, whatever came of it. */
export interface Step {
  readonly what: string;
  readonly run: (root: string, sources: string) => Promise<void>;
  readonly after: (world: World) => World;
  /** It takes something away: what it was made of can be imported right afterwards. */
  readonly removes?: boolean;
}

/** The same bytes for the same seed. */
export function noise(length: number, seed: number): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i * 32 < length; i++) parts.push(createHash('sha256').update(`${seed} ${i}`).digest());
  return Buffer.concat(parts).subarray(0, length);
}

/** A layer with objects of all kinds: equal ones, an empty one, one with a hole, a large one. */
const large = (): Buffer =>
  tarOf(
    { path: 'many/' },
    ...Array.from({ length: 9 }, (_, i) => ({ path: `many/${i}`, data: noise(6000 + i, i) })),
    { path: 'many/same', data: noise(6000, 0) },
    { path: 'empty' },
    { path: 'holey', data: Buffer.concat([noise(65_536, 90), Buffer.alloc(196_608), noise(1000, 91)]) },
    { path: 'large', data: noise(1_100_000, 92) },
  );

/** Makes the sources that {@link STEPS} import, in a new folder. */
export function makeSources(folder: string): void {
  mkdirSync(folder);
  layoutOf(join(folder, 'small'), { latest: two() });
  layoutOf(join(folder, 'large'), { latest: imageOf([BASE, large()]) });
  writeFileSync(
    join(folder, 'rootfs.tar'),
    tarOf({ path: 'etc/' }, { path: 'etc/motd', data: 'hello\n' }, { path: 'r', data: 'r' }),
  );
}

async function withStore(root: string, action: (store: Store) => Promise<unknown>): Promise<void> {
  const store = await openStore({ root });
  try {
    await action(store);
  } finally {
    await store.close();
  }
}

const add = (set: ReadonlySet<string>, name: string): Set<string> => new Set([...set, name]);
const without = (set: ReadonlySet<string>, ...names: string[]): Set<string> =>
  new Set([...set].filter((name) => !names.includes(name)));

function importing(source: string, name: string): Step {
  return {
    what: `import ${source} as ${name}`,
    run: (root, sources) => withStore(root, (store) => store.import(join(sources, source), { name })),
    after: ({ images, snapshots }) => ({ images: add(images, `${name}:latest`), snapshots }),
  };
}

/** Expected absence, or presence, when a command is run again that had got to its end. */
async function unless(code: string, action: Promise<unknown>): Promise<void> {
  try {
    await action;
  } catch (error) {
    if ((error as { code?: string }).code !== code) throw error;
  }
}

function removing(...names: string[]): Step {
  return {
    what: `rmi ${names.join(' ')}`,
    removes: true,
    run: (root) =>
      withStore(root, async (store) => {
        for (const name of names) await unless('not-found', store.removeImage(name));
      }),
    after: ({ images, snapshots }) => ({
      images: without(images, ...names.map((name) => `${name}:latest`)),
      snapshots,
    }),
  };
}

/** Writes to an upper folder, and sees to it that what was written stays, as the owner of the data would. */
export function changeUpper(upper: string): void {
  mkdirSync(join(upper, 'etc'), { recursive: true });
  writeFileSync(join(upper, 'etc/motd'), 'changed\n', { flush: true });
  writeFileSync(join(upper, 'new'), noise(5000, 7), { flush: true });
}

const same = (world: World): World => world;

export const STEPS: readonly Step[] = [
  importing('small', 'a'),
  importing('large', 'b'),
  // Nothing but a name is new, but the files are moved to their places again.
  importing('small', 'again'),
  importing('rootfs.tar', 'r'),
  {
    what: 'snapshot of a',
    run: (root) => withStore(root, (store) => unless('already-exists', store.createSnapshot('a', { name: 's' }))),
    after: ({ images, snapshots }) => ({ images, snapshots: add(snapshots, 's') }),
  },
  {
    what: 'commit of the snapshot',
    run: (root) =>
      withStore(root, async (store) => {
        changeUpper(store.snapshot('s').upper);
        await store.commit('s', 'c');
      }),
    after: ({ images, snapshots }) => ({ images: add(images, 'c:latest'), snapshots }),
  },
  { ...removing('b'), what: 'rmi b' },
  importing('large', 'b'),
  {
    what: 'a chain is made again',
    // A cache, that is: anybody may delete it.
    run: (root) =>
      withStore(root, async (store) => {
        const { path } = await store.tree('a');
        if (existsSync(path)) rmSync(join(path, '..'), { recursive: true });
      }).then(() => withStore(root, (store) => store.tree('a'))),
    after: same,
  },
  {
    what: 'prune --blobs',
    run: (root) => withStore(root, (store) => store.dropBlobs()),
    after: same,
  },
  {
    what: 'rm of the snapshot',
    run: (root) => withStore(root, (store) => unless('not-found', store.removeSnapshot('s'))),
    after: ({ images, snapshots }) => ({ images, snapshots: without(snapshots, 's') }),
  },
  {
    what: 'an untagged image is collected',
    removes: true,
    run: (root) =>
      withStore(root, async (store) => {
        store.tag('a', 'b');
        await store.gc();
      }),
    after: same,
  },
  removing('a', 'again', 'b', 'c', 'r'),
];

/** What the store holds once the first `count` steps are done. */
export function worldAfter(count: number): World {
  let world: World = { images: new Set(), snapshots: new Set() };
  for (const step of STEPS.slice(0, count)) world = step.after(world);
  return world;
}
