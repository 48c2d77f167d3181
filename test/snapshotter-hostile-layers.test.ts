/** Layers that containerd unpacks with attributes of overlayfs in them, to be shown what is not theirs. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MNT, getXattr, setXattr, umount2 } from '@layerfs/linux';
import { openSnapshotter, type Mount, type Snapshotter } from '../packages/snapshotter/dist/index.js';
import { openStore, type Store } from '../packages/layerfs/dist/index.js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { missing } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';
import { SnapshotMounts } from './support/snapshot-mounts.js';

const SECRET = 'what another image keeps for itself\n';
const MINUTES = 60_000;

const reason = missing('root');
if (reason !== undefined) console.warn(`skipped: hostile layers under the snapshotter: ${reason}`);

let work: string;
let root: string;
let store: Store;
let snapshotter: Snapshotter;
let problems: unknown[];
let mounted: SnapshotMounts;

beforeEach(async () => {
  if (reason !== undefined) return;
  problems = [];
  work = scratchFolder('layerfs-hostile-', true);
  root = join(work, 'store/snapshotter');
  mounted = new SnapshotMounts(work, root);
  store = await openStore({ root: join(work, 'store') });
  // Somebody else's image, and the image that the hostile layer stands on, are layers of the store.
  open('commit');
  await unpacked('other', undefined, (folder) => writeFileSync(join(folder, 'secret'), SECRET));
  await unpacked('base', undefined, (folder) => {
    writeFileSync(join(folder, 'own'), 'own content');
    mkdirSync(join(folder, 'folder'));
    writeFileSync(join(folder, 'folder/inside'), 'inside');
  });
  await snapshotter.close();
});
afterEach(async () => {
  if (reason !== undefined) return;
  mounted.release();
  await snapshotter.close();
  await store.close();
  for (const name of readdirSync(join(root, 'erofs'))) umount2(join(root, 'erofs', name), MNT.DETACH);
  rmSync(work, { recursive: true, force: true });
});

function open(seal: 'commit' | 'never'): void {
  snapshotter = openSnapshotter({ root, store, seal, mountMode: 'kernel', onProblem: (error) => problems.push(error) });
}

/** Unpacks a layer as containerd does, and commits it. */
function unpacked(name: string, parent: string | undefined, fill: (folder: string) => void): Promise<void> {
  return mounted.unpack(snapshotter, name, parent, fill);
}

/** The folder that containerd's differ writes to, past the mount. */
function upperOf([{ options }]: readonly Mount[]): string {
  return options.find((each) => each.startsWith('upperdir='))?.slice('upperdir='.length) ?? '';
}

/** The other image's object, as a path below the objects. */
function objectOf(content: string): string {
  const hex = createHash('sha256').update(content).digest('hex');
  return `/${hex.slice(0, 2)}/${hex.slice(2)}`;
}

/** A file that says its content lies elsewhere. */
function pointTo(file: string, where: string, name = 'trusted.overlay.'): void {
  writeFileSync(file, '');
  truncateSync(file, SECRET.length);
  setXattr(file, `${name}metacopy`, new Uint8Array(0));
  setXattr(file, `${name}redirect`, Buffer.from(where));
}

/** What anybody gets out of a mounted folder: contents, or the errors in their place. */
function allOf(folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => {
      try {
        return `${name}: ${readFileSync(join(folder, name), 'latin1')}`;
      } catch (error) {
        return `${name}: ${String((error as NodeJS.ErrnoException).code)}`;
      }
    })
    .join('\n');
}

/** Each is tried with the class of attributes that mounts by root use, and the other. */
const ATTACKS: readonly (readonly [what: string, attack: (upper: string, name: string) => void])[] = [
  ['an object of another image', (upper, name) => pointTo(join(upper, 'stolen'), objectOf(SECRET), name)],
  ['a file of the host', (upper, name) => pointTo(join(upper, 'stolen'), '/etc/passwd', name)],
  ['a path that leads out', (upper, name) => pointTo(join(upper, 'stolen'), '/../../../etc/passwd', name)],
  [
    'an object, below a folder that continues the objects',
    (upper, name) => {
      mkdirSync(join(upper, 'stolen'));
      setXattr(join(upper, 'stolen'), `${name}redirect`, Buffer.from(objectOf(SECRET).slice(0, 3)));
      pointTo(join(upper, 'stolen', objectOf(SECRET).slice(4)), objectOf(SECRET).slice(4), name);
    },
  ],
  [
    'a folder of the host',
    (upper, name) => {
      mkdirSync(join(upper, 'stolen'));
      setXattr(join(upper, 'stolen'), `${name}redirect`, Buffer.from('/etc'));
    },
  ],
];

describe.skipIf(reason !== undefined).each(['trusted.overlay.', 'user.overlay.'])('%s attributes', (name) => {
  test.each(ATTACKS)('that point to %s show nothing of it', { timeout: 2 * MINUTES }, async (_, attack) => {
    open('never');
    const mounts = await snapshotter.prepare('unpack hostile', 'base');
    attack(upperOf(mounts), name);
    const shown: string[] = [];
    const look = (mounts: readonly Mount[]): void => {
      const folder = mounted.mount(mounts);
      shown.push(allOf(folder));
      mounted.unmount(folder);
    };
    // While it is unpacked; as one lower of several; beside a layer above; as a layer of the store.
    look(mounts);
    await snapshotter.commit('hostile', 'unpack hostile');
    look(await snapshotter.prepare('container', 'hostile'));
    look(await snapshotter.view('view', 'hostile'));
    await unpacked('above', 'hostile', (folder) => writeFileSync(join(folder, 'above'), 'above'));
    look(await snapshotter.prepare('container above', 'above'));
    await snapshotter.close();
    open('never');
    look(await snapshotter.mounts('container'));
    await snapshotter.close();
    open('commit');
    await unpacked('trigger', undefined, () => undefined);
    look(await snapshotter.view('sealed', 'hostile'));
    for (const text of shown) {
      expect(text).not.toContain(SECRET.trim());
      expect(text).not.toContain('root:');
      expect(text).toContain('own: own content');
      expect(text).toContain('inside: inside');
    }
  });
});

test.skipIf(reason !== undefined)(
  'marks that anybody can set hide nothing, as folder and as layer of the store',
  { timeout: 2 * MINUTES },
  async () => {
    const marked = async (): Promise<void> =>
      unpacked('marked', 'base', (folder) => {
        setXattr(join(folder, 'folder'), 'user.overlay.opaque', Buffer.from('y'));
        setXattr(join(folder, 'folder'), 'user.kept', Buffer.from('1'));
        setXattr(folder, 'user.fuseoverlayfs.opaque', Buffer.from('y'));
        writeFileSync(join(folder, 'empty'), '');
        setXattr(join(folder, 'empty'), 'user.overlay.whiteout', Buffer.from('y'));
        writeFileSync(join(folder, 'changed'), 'changed');
        setXattr(join(folder, 'changed'), 'user.overlay.redirect', Buffer.from('/own'));
        setXattr(join(folder, 'changed'), 'user.overlay.metacopy', new Uint8Array(0));
      });
    const look = async (): Promise<unknown> => {
      const folder = mounted.mount(await snapshotter.view(`view ${Math.random()}`, 'marked'));
      const shown = [
        allOf(folder).split('\n').toSorted(),
        Buffer.from(getXattr(join(folder, 'folder'), 'user.kept') ?? []).toString(),
      ];
      mounted.unmount(folder);
      return shown;
    };
    open('never');
    await marked();
    const before = await look();
    expect(before).toEqual([
      ['changed: changed', 'empty: ', 'folder/inside: inside', 'folder: EISDIR', 'own: own content'],
      '1',
    ]);
    await snapshotter.close();
    open('commit');
    // Sealed with the next commit.
    await unpacked('trigger', undefined, () => undefined);
    expect(await look()).toEqual(before);
    const layers = store.leases.list().filter(({ label }) => label?.includes('marked'));
    expect(layers.length).toBe(1);
    expect(problems).toEqual([]);
  },
);

test.skipIf(reason !== undefined)('what the kernel wrote itself still works', { timeout: 2 * MINUTES }, async () => {
  open('never');
  const { chmodSync, renameSync, statSync } = await import('node:fs');
  const mounts = await snapshotter.prepare('container', 'base');
  const folder = mounted.mount(mounts);
  // The attributes alone are copied up, then it gets another name.
  chmodSync(join(folder, 'own'), 0o600);
  renameSync(join(folder, 'own'), join(folder, 'renamed'));
  renameSync(join(folder, 'folder'), join(folder, 'moved'));
  mounted.unmount(folder);
  expect(getXattr(join(upperOf(mounts), 'renamed'), 'trusted.overlay.metacopy')).toBeDefined();
  await snapshotter.commit('changed', 'container');
  const view = mounted.mount(await snapshotter.prepare('look', 'changed'));
  expect(readFileSync(join(view, 'renamed'), 'latin1')).toBe('own content');
  expect(statSync(join(view, 'renamed')).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(view, 'moved/inside'), 'latin1')).toBe('inside');
  expect(readdirSync(view).toSorted()).toEqual(['moved', 'renamed']);
});
