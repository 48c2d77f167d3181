/** Images of different layers that hold the same files, in a containerd on our snapshotter: each content is stored once. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { miniRoot } from './images/mini.js';
import { sha256 } from './images/oci.js';
import { file, folder, noise, type Piece } from './images/odd-lower.js';
import { bytesOf, tarOf } from './images/tar.js';
import { ContainerdOnLayerfs } from './support/containerd-on-layerfs.js';
import { missing } from './support/needs.js';

const SNAPSHOTTER = ['--snapshotter', 'layerfs'];
const ONE = 'test.local/one:latest';
const TWO = 'test.local/two:latest';
const MINUTES = 60_000;
const LARGE = noise(4 << 20);

const reason = missing('root', 'containerd', 'ctr', 'runc', 'tar', 'ldd');
if (reason !== undefined) console.warn(`skipped: images that share files, in containerd: ${reason}`);

/** Contents by digest, as they should be in the store: empty files have none. */
type Contents = Map<string, number>;

function contentsOf(layers: readonly (readonly Piece[])[]): Contents {
  const contents: Contents = new Map();
  for (const piece of layers.flat()) {
    if (Array.isArray(piece) || piece.data === undefined) continue;
    const data = bytesOf(piece.data);
    if (data.length > 0) contents.set(sha256(data), data.length);
  }
  return contents;
}

describe.skipIf(reason !== undefined)('images whose layers share files', () => {
  let both: ContainerdOnLayerfs;
  /** Layers of both images, the lowest first: none is the same as another. */
  let one: Piece[][];
  let two: Piece[][];

  beforeAll(async () => {
    both = await ContainerdOnLayerfs.start('layerfs-shared-');
    const root = await miniRoot(['sleep']);
    one = [[...root, folder('data'), file('data/large', LARGE), file('data/own', 'of the first')]];
    two = [
      // The same root filesystem, built at another time, so that only the contents are equal.
      [...root.map((piece) => (Array.isArray(piece) ? piece : { ...piece, mtime: 1_700_000_000 })), folder('other')],
      [file('other/place', LARGE, { mode: 0o600, uid: 7 }), file('other/own', 'of the second')],
    ];
  });
  afterAll(() => both.stop());

  const ctr = (...args: string[]): Promise<string> => both.ctr(...args);
  const eventually = <T>(action: () => T | Promise<T>): Promise<T> =>
    vi.waitFor(action, { timeout: 60_000, interval: 500 });
  const container = (image: string, name: string, script: string): Promise<string> =>
    ctr('run', '--rm', ...SNAPSHOTTER, image, name, '/bin/sh', '-ec', script);
  const store = (name: string): string => join(both.folder, 'store', name);

  /** What the store has. */
  function objects(): Contents {
    const found: Contents = new Map();
    for (const prefix of readdirSync(store('objects'))) {
      for (const rest of readdirSync(store(`objects/${prefix}`))) {
        found.set(`sha256:${prefix}${rest}`, statSync(store(`objects/${prefix}/${rest}`)).size);
      }
    }
    return found;
  }

  /** Removes an image, and what nobody needs any more, of containerd and of the store. */
  async function remove(image: string, layersLeft: number): Promise<void> {
    await ctr('image', 'rm', '--sync', image);
    await eventually(async () => {
      const committed = (await ctr('snapshot', ...SNAPSHOTTER, 'ls')).match(/Committed/g) ?? [];
      expect(committed).toHaveLength(layersLeft);
      await both.layerfs('gc');
      // Leases go a little after the snapshots that they are for.
      expect(readdirSync(store('layers'))).toHaveLength(layersLeft);
    });
  }

  test('contents are stored once, and stay while one of the images does', { timeout: 5 * MINUTES }, async () => {
    await both.importImage(
      ONE,
      one.map((layer) => Readable.from([tarOf(...layer)])),
    );
    await both.importImage(
      TWO,
      two.map((layer) => Readable.from([tarOf(...layer)])),
    );
    // All is sealed.
    await eventually(() => expect(both.folders()).toEqual([]));
    expect(readdirSync(store('layers'))).toHaveLength(3);

    const [first, second] = [contentsOf(one), contentsOf(two)];
    const all = new Map([...first, ...second]);
    // All but one file of each.
    expect(all.size).toBe(first.size + 1);
    expect(objects()).toEqual(all);

    const large = `${sha256(LARGE).slice('sha256:'.length)}  -\n`;
    expect(await container(ONE, 'first', 'sha256sum < /data/large; cat /data/own')).toBe(`${large}of the first`);
    // What a container of one image writes over the shared content, the other does not see.
    await container(ONE, 'writes', 'echo x > /data/large; echo x >> /bin/cat');
    expect(await container(TWO, 'second', 'sha256sum < /other/place; stat -c "%a %u" /other/place')).toBe(
      `${large}600 7\n`,
    );

    await ctr('run', '-d', ...SNAPSHOTTER, TWO, 'stays', '/bin/sleep', '600');
    try {
      await remove(ONE, 2);
      expect(objects()).toEqual(second);
      const look = ['--exec-id', 'look', 'stays', '/bin/sh', '-ec', 'sha256sum < /other/place; cat /other/own'];
      expect(await ctr('task', 'exec', ...look)).toBe(`${large}of the second`);
    } finally {
      await ctr('task', 'rm', '-f', 'stays').catch(() => undefined);
      await ctr('container', 'rm', 'stays').catch(() => undefined);
    }
    expect(await container(TWO, 'again', 'sha256sum < /other/place; cat /other/own')).toBe(`${large}of the second`);
    await both.layerfs('fsck');

    await remove(TWO, 0);
    expect(objects()).toEqual(new Map());
    expect(both.folders()).toEqual([]);
    await eventually(() => {
      expect(readdirSync(store('snapshotter/erofs'))).toEqual([]);
      expect(readdirSync(store('snapshotter/staging'))).toEqual([]);
    });
    expect(readdirSync(store('chains'))).toEqual([]);
    expect(await both.layerfs('leases', '--json')).toBe('[]\n');
    expect((await ctr('content', 'ls', '-q')).trim()).toBe('');
    expect(both.service.log).not.toContain('in the background');
  });
});
