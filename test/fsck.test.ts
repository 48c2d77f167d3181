/** Damage of every kind, made by hand: that a check finds and names it, and what a repair makes of it. */
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  checkStore,
  listMounts,
  openStore,
  spawnServer,
  unmount,
  type FsckReport,
  type ProblemKind,
  type Store,
} from 'layerfs';
import { imageOf, layoutOf, tarOf } from '../packages/layerfs/dist/store/small-images.test-support.js';
import { spoilRecords } from '../packages/layerfs/dist/store/fsck/spoil.test-support.js';
import { layerfs } from './support/cli.js';
import { need } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';

const isRoot = process.getuid?.() === 0;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const BIG = Buffer.alloc(3 << 20, 'a large file, larger than what is kept in memory at once. ');
const SHARED = 'the same in several layers\n';
const LOW = tarOf(
  { path: 'etc/' },
  { path: 'etc/motd', data: 'hello\n' },
  { path: 'big', data: BIG },
  { path: 'same', data: SHARED },
);
const TOP = tarOf(
  { path: 'also', data: SHARED },
  { path: 'etc/motd', data: 'bye\n' },
  { path: 'only-top', data: 'top\n' },
);
const PLAIN = tarOf({ path: 'plain', data: 'kept without its blob\n' }, { path: 'same', data: SHARED });

/** A store that is copied for each case, and what lies where in it. */
let folder: string;
let pristine: string;
let sources: { app: string; plain: string };
let digests: Map<string, string>;
const ids = {
  low: sha256(LOW),
  top: sha256(TOP),
  plain: sha256(PLAIN),
  big: object(BIG),
  motd: object(Buffer.from('hello\n')),
  onlyTop: object(Buffer.from('top\n')),
  kept: object(Buffer.from('kept without its blob\n')),
  shared: object(Buffer.from(SHARED)),
  app: '',
  appConfig: '',
  plainImage: '',
  plainConfig: '',
  lowBlob: '',
  topBlob: '',
  chain: '',
  snapshot: '',
};

function object(bytes: Uint8Array): string {
  const hex = sha256(bytes);
  return `objects/${hex.slice(0, 2)}/${hex.slice(2)}`;
}

beforeAll(async () => {
  folder = scratchFolder('layerfs-fsck-');
  pristine = join(folder, 'pristine');
  const app = imageOf([LOW, TOP]);
  sources = { app: layoutOf(join(folder, 'app'), { latest: app }), plain: join(folder, 'plain.tar') };
  writeFileSync(sources.plain, PLAIN);
  const store = await openStore({ root: pristine });
  await store.import(sources.app, { name: 'app' });
  await store.import(sources.plain, { name: 'plain' });
  const { upper } = await store.createSnapshot('app', { name: 'work' });
  writeFileSync(join(upper, 'changed'), 'by somebody\n');
  await store.erofsImage(await store.tree('app'));
  const image = store.image('app');
  const hex = (digest: string): string => digest.slice(7);
  ids.app = hex(image.digest);
  ids.appConfig = hex(image.configDigest);
  ids.plainImage = hex(store.image('plain').digest);
  ids.plainConfig = hex(store.image('plain').configDigest);
  [ids.lowBlob, ids.topBlob] = image.layers.map(({ digest }) => hex(digest));
  ids.chain = hex(image.chainID);
  ids.snapshot = store.snapshot('work').id;
  digests = await exportsOf(store, ['app', 'plain']);
  await store.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What export gives of each image: the digest of every file of the layout. */
async function exportsOf(store: Store, images: readonly string[]): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for (const name of images) {
    const out = join(folder, `export-${Math.random().toString(36).slice(2)}`);
    const { digest } = await store.export(name, out);
    all.set(name, `${digest} ${readdirSync(join(out, 'blobs/sha256')).toSorted().join(' ')}`);
    rmSync(out, { recursive: true });
  }
  return all;
}

let root: string;
let count = 0;
function copyStore(): string {
  root = join(folder, `store-${count++}`);
  cpSync(pristine, root, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  return root;
}
afterEach(() => {
  if (root !== undefined) rmSync(root, { recursive: true, force: true });
});

const at = (path: string): string => join(root, path);

/** Changes one byte of a file that is read-only. */
function flip(path: string, offset?: number): void {
  const bytes = readFileSync(at(path));
  bytes[offset ?? bytes.length >> 1] ^= 0x55;
  overwrite(path, bytes);
}

function overwrite(path: string, bytes: Uint8Array): void {
  const { mode } = statSync(at(path));
  chmodSync(at(path), 0o600);
  writeFileSync(at(path), bytes);
  chmodSync(at(path), mode & 0o7777);
}

function cut(path: string): void {
  const { mode, size } = statSync(at(path));
  chmodSync(at(path), 0o600);
  truncateSync(at(path), size >> 1);
  chmodSync(at(path), mode & 0o7777);
}

function swap(a: string, b: string): void {
  const aside = at('swapping');
  renameSync(at(a), aside);
  renameSync(at(b), at(a));
  renameSync(aside, at(b));
}

const records = (change: Parameters<typeof spoilRecords>[1]): void => spoilRecords(at('meta/records'), change);

const key = (path: string): Buffer => Buffer.from(path.replace('objects/', '').replace('/', ''), 'hex');

/** The kinds and paths of what a report tells, in order. */
function told(report: FsckReport): string[] {
  return report.problems.map(({ kind, path }) => `${kind} ${path}`);
}

/** A kind of damage. */
interface Case {
  readonly what: string;
  readonly damage: () => void | Promise<void>;
  /** What must be told; nothing else may be. A function, as digests are known late. */
  readonly told: () => readonly (readonly [kind: ProblemKind, path: string])[];
  /** Images that must be named as affected. */
  readonly images?: readonly string[];
  /** Given to the repair. */
  readonly from?: () => readonly string[];
  /** What is left after the repair; nothing unless told. */
  readonly left?: () => readonly (readonly [kind: ProblemKind, path: string])[];
  /** Images that are as they were after the repair; both unless told. */
  readonly sound?: readonly string[];
  /** Something is lost, though nothing is left to be found. */
  readonly lost?: boolean;
  /** Exports are uncompressed after the repair. */
  readonly rebuilt?: boolean;
  readonly needsRoot?: boolean;
  readonly after?: (repaired: FsckReport) => void | Promise<void>;
}

const APP = ['app:latest', 'snapshot work'];
const layer = (hex: string, file = ''): string => `layers/${hex}${file === '' ? '' : `/${file}`}`;
const blob = (hex: string): string => `blobs/sha256/${hex}`;
const meta = (table: string, name: string): string => `meta:${table}/${name}`;

const CASES: readonly Case[] = [
  // Objects.
  {
    what: 'a byte of an object',
    damage: () => flip(ids.motd),
    told: () => [['object-damaged', ids.motd]],
    images: APP,
  },
  {
    what: 'a byte of a large object',
    damage: () => flip(ids.big),
    told: () => [['object-damaged', ids.big]],
    images: APP,
  },
  { what: 'an object cut short', damage: () => cut(ids.big), told: () => [['object-damaged', ids.big]], images: APP },
  {
    what: 'an object that grew',
    damage() {
      chmodSync(at(ids.motd), 0o600);
      appendFileSync(at(ids.motd), 'more');
      chmodSync(at(ids.motd), 0o444);
    },
    told: () => [['object-damaged', ids.motd]],
    images: APP,
  },
  {
    what: 'a missing object',
    damage: () => unlinkSync(at(ids.onlyTop)),
    told: () => [['object-missing', ids.onlyTop]],
    images: APP,
  },
  {
    what: 'two objects that changed places',
    damage: () => swap(ids.motd, ids.onlyTop),
    told: () => [
      ['object-damaged', ids.motd],
      ['object-damaged', ids.onlyTop],
    ],
    images: APP,
  },
  {
    what: 'an object of several layers, one of which has its blob',
    damage: () => flip(ids.shared),
    told: () => [['object-damaged', ids.shared]],
    images: ['app:latest', 'plain:latest', 'snapshot work'],
  },
  {
    what: 'an object that nothing in the store can give again',
    damage: () => flip(ids.kept),
    told: () => [['object-damaged', ids.kept]],
    images: ['plain:latest'],
    left: () => [['object-missing', ids.kept]],
    sound: ['app'],
    after: (report) => expect(readFileSync(join(report.quarantine ?? '', ids.kept)).length).toBe(22),
  },
  {
    what: 'an object that only an archive can give again',
    damage: () => flip(ids.kept),
    told: () => [['object-damaged', ids.kept]],
    from: () => [sources.plain],
  },
  {
    what: 'a symbolic link in the place of an object',
    damage() {
      renameSync(at(ids.motd), join(folder, 'outside'));
      symlinkSync(join(folder, 'outside'), at(ids.motd));
    },
    told: () => [['wrong-type', ids.motd]],
    images: APP,
  },
  {
    what: 'an object that others may write to',
    damage: () => chmodSync(at(ids.motd), 0o666),
    told: () => [['wrong-mode', ids.motd]],
  },
  {
    what: 'an object of another owner',
    damage: () => chownSync(at(ids.motd), 4711, 4711),
    told: () => [['wrong-owner', ids.motd]],
    needsRoot: true,
  },
  {
    what: 'an object that no layer holds',
    damage() {
      const path = at(object(Buffer.from('nobody')));
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      writeFileSync(path, 'nobody', { mode: 0o444 });
    },
    told: () => [['object-orphan', object(Buffer.from('nobody'))]],
  },
  // Layers.
  {
    what: 'a byte of a tree',
    damage: () => flip(layer(ids.low, 'tree')),
    told: () => [['layer-file-damaged', layer(ids.low, 'tree')]],
    images: APP,
  },
  {
    what: 'a tree of a layer without a blob: made again of the tar record',
    damage() {
      // Its merged tree is the same file.
      const bytes = readFileSync(at(layer(ids.plain, 'tree')));
      unlinkSync(at(layer(ids.plain, 'tree')));
      bytes[200] ^= 1;
      writeFileSync(at(layer(ids.plain, 'tree')), bytes, { mode: 0o400 });
    },
    told: () => [['layer-file-damaged', layer(ids.plain, 'tree')]],
    images: ['plain:latest'],
  },
  {
    what: 'the one file that is tree and merged tree',
    damage() {
      unlinkSync(at(`chains/${ids.plain}/tree`));
      linkSync(at(layer(ids.plain, 'tree')), at(`chains/${ids.plain}/tree`));
      flip(layer(ids.plain, 'tree'));
    },
    told: () => [
      ['layer-file-damaged', layer(ids.plain, 'tree')],
      ['chain-damaged', `chains/${ids.plain}/tree`],
    ],
    images: ['plain:latest'],
  },
  {
    what: 'a missing tree',
    damage: () => unlinkSync(at(layer(ids.top, 'tree'))),
    told: () => [['layer-file-missing', layer(ids.top, 'tree')]],
    images: APP,
  },
  {
    what: 'an empty tree',
    damage: () => overwrite(layer(ids.top, 'tree'), Buffer.alloc(0)),
    told: () => [['layer-file-damaged', layer(ids.top, 'tree')]],
    images: APP,
  },
  {
    what: 'trees that changed places',
    damage: () => swap(layer(ids.low, 'tree'), layer(ids.top, 'tree')),
    told: () => [
      ['layer-file-damaged', layer(ids.low, 'tree')],
      ['layer-file-damaged', layer(ids.top, 'tree')],
      ['chain-damaged', `chains/${ids.chain}/tree`],
    ],
    images: APP,
  },
  {
    what: 'a byte of a tar record',
    damage: () => flip(layer(ids.low, 'tar')),
    told: () => [['layer-file-damaged', layer(ids.low, 'tar')]],
    images: APP,
  },
  {
    what: 'a tar record cut short',
    damage: () => cut(layer(ids.low, 'tar')),
    told: () => [['layer-file-damaged', layer(ids.low, 'tar')]],
    images: APP,
  },
  {
    what: 'tar records that changed places',
    damage: () => swap(layer(ids.low, 'tar'), layer(ids.top, 'tar')),
    told: () => [
      ['layer-mismatch', layer(ids.low)],
      ['layer-mismatch', layer(ids.top)],
    ],
    images: APP,
  },
  {
    what: 'a tar record that nothing in the store can give again',
    damage: () => flip(layer(ids.plain, 'tar')),
    told: () => [['layer-file-damaged', layer(ids.plain, 'tar')]],
    left: () => [['layer-file-missing', layer(ids.plain, 'tar')]],
    sound: ['app'],
  },
  {
    what: 'a byte of an object list',
    damage: () => flip(layer(ids.low, 'objects')),
    told: () => [['layer-file-damaged', layer(ids.low, 'objects')]],
    images: APP,
  },
  {
    what: 'an object list that nothing in the store can give again',
    damage: () => flip(layer(ids.plain, 'objects')),
    told: () => [['layer-file-damaged', layer(ids.plain, 'objects')]],
    left: () => [['layer-missing', layer(ids.plain)]],
    sound: ['app'],
    async after() {
      // Import takes it in again.
      const store = await openStore({ root });
      await store.import(sources.plain, { name: 'plain' });
      expect(await exportsOf(store, ['plain'])).toEqual(new Map([['plain', digests.get('plain')]]));
      await store.close();
    },
  },
  {
    what: 'a layer without its folder',
    damage: () => rmSync(at(layer(ids.low)), { recursive: true }),
    told: () => [['layer-missing', layer(ids.low)]],
    images: APP,
  },
  {
    what: 'a layer without a folder and a blob',
    damage: () => rmSync(at(layer(ids.plain)), { recursive: true }),
    told: () => [['layer-missing', layer(ids.plain)]],
    from: () => [sources.plain],
    images: ['plain:latest'],
  },
  {
    what: 'a layer that nothing names',
    damage() {
      const other = at(layer('0'.repeat(64)));
      cpSync(at(layer(ids.top)), other, { recursive: true });
      chmodSync(other, 0o700);
    },
    told: () => [
      // It is not what its name says, either.
      ['layer-mismatch', layer('0'.repeat(64))],
      ['layer-orphan', layer('0'.repeat(64))],
    ],
  },
  {
    what: 'a foreign file in the folder of a layer',
    damage: () => writeFileSync(at(layer(ids.low, 'notes.txt')), 'mine'),
    told: () => [['foreign-file', layer(ids.low, 'notes.txt')]],
    left: () => [['foreign-file', layer(ids.low, 'notes.txt')]],
    after: () => expect(readFileSync(at(layer(ids.low, 'notes.txt')), 'utf8')).toBe('mine'),
  },
  // Merged trees.
  {
    what: 'a byte of a merged tree',
    damage: () => flip(`chains/${ids.chain}/tree`),
    told: () => [['chain-damaged', `chains/${ids.chain}/tree`]],
    images: APP,
  },
  {
    what: 'a sound tree that is not what the layers give',
    damage: () => overwrite(`chains/${ids.chain}/tree`, readFileSync(at(layer(ids.top, 'tree')))),
    told: () => [['chain-damaged', `chains/${ids.chain}/tree`]],
    images: APP,
  },
  {
    what: 'a byte of an EROFS image',
    damage: () => flip(`chains/${ids.chain}/erofs`),
    told: () => [['chain-damaged', `chains/${ids.chain}/erofs`]],
    images: APP,
  },
  {
    what: 'a merged tree of no image',
    damage: () => cpSync(at(`chains/${ids.chain}`), at(`chains/${'1'.repeat(64)}`), { recursive: true }),
    told: () => [['chain-orphan', `chains/${'1'.repeat(64)}`]],
  },
  // Blobs.
  {
    what: 'a byte of a manifest',
    damage: () => flip(blob(ids.app)),
    told: () => [['document-damaged', blob(ids.app)]],
    images: APP,
    from: () => [sources.app],
  },
  {
    what: 'a manifest that layerfs made itself',
    damage: () => flip(blob(ids.plainImage)),
    told: () => [['document-damaged', blob(ids.plainImage)]],
    images: ['plain:latest'],
  },
  {
    what: 'a config that is nowhere else',
    damage: () => flip(blob(ids.plainConfig)),
    told: () => [['document-damaged', blob(ids.plainConfig)]],
    left: () => [['document-missing', blob(ids.plainConfig)]],
    sound: ['app'],
  },
  {
    what: 'a missing config',
    damage: () => unlinkSync(at(blob(ids.appConfig))),
    told: () => [['document-missing', blob(ids.appConfig)]],
    images: APP,
    from: () => [sources.app],
  },
  {
    what: 'a byte of a compressed layer',
    damage: () => flip(blob(ids.lowBlob)),
    told: () => [['blob-damaged', blob(ids.lowBlob)]],
    images: APP,
    rebuilt: true,
  },
  {
    what: 'a compressed layer that is to be had',
    damage: () => cut(blob(ids.lowBlob)),
    told: () => [['blob-damaged', blob(ids.lowBlob)]],
    from: () => [sources.app],
  },
  {
    what: 'a blob that nothing names',
    damage: () => writeFileSync(at(blob(sha256(Buffer.from('x')))), 'x', { mode: 0o400 }),
    told: () => [['blob-orphan', blob(sha256(Buffer.from('x')))]],
  },
  // Records.
  {
    what: 'a reference count that is too high',
    damage: () => records((_, setCount) => setCount(key(ids.shared), 9, 27)),
    told: () => [['count-wrong', meta('objects', key(ids.shared).toString('hex'))]],
  },
  {
    what: 'a reference count that is too low, and one that is missing',
    damage: () =>
      records((_, setCount) => {
        setCount(key(ids.shared), 1, 27);
        setCount(key(ids.motd), 0, 0);
      }),
    told: () =>
      [ids.shared, ids.motd]
        .map((path) => ['count-wrong', meta('objects', key(path).toString('hex'))] as const)
        .toSorted((a, b) => (a[1] < b[1] ? -1 : 1)),
  },
  {
    what: 'a count of an object that no layer holds',
    damage: () => records((_, setCount) => setCount(Buffer.alloc(32, 7), 1, 1)),
    told: () => [['count-wrong', meta('objects', '07'.repeat(32))]],
  },
  {
    what: 'a missing record of a layer',
    damage: () => records((table) => table('layers').remove(`sha256:${ids.low}`)),
    told: () => [['layer-record-missing', meta('layers', `sha256:${ids.low}`)]],
    images: APP,
  },
  {
    what: 'a wrong record of a layer',
    damage: () => records((table) => table('layers').edit(`sha256:${ids.low}`, (value) => (value['entries'] = 99))),
    told: () => [['layer-record-wrong', meta('layers', `sha256:${ids.low}`)]],
    images: APP,
  },
  {
    what: 'a record that is no JSON',
    damage: () => records((table) => table('layers').set(`sha256:${ids.top}`, '{"size":')),
    told: () => [['record-damaged', meta('layers', `sha256:${ids.top}`)]],
    images: APP,
  },
  {
    what: 'a missing record of an image that has a name',
    damage: () => records((table) => table('images').remove(`sha256:${ids.plainImage}`)),
    told: () => [['name-dangling', meta('names', 'plain:latest')]],
  },
  {
    what: 'a name of an image that is nowhere',
    damage: () => records((table) => table('names').set('ghost:latest', JSON.stringify(`sha256:${'2'.repeat(64)}`))),
    told: () => [['name-dangling', meta('names', 'ghost:latest')]],
    lost: true,
    after: (report) =>
      expect(readFileSync(join(report.quarantine ?? '', 'report.json'), 'utf8')).toContain('ghost:latest'),
  },
  {
    what: 'a record of an image that is wrong about its config',
    damage: () =>
      records((table) =>
        table('images').edit(`sha256:${ids.plainImage}`, (value) => (value['config'] = `sha256:${ids.appConfig}`)),
      ),
    told: () => [
      ['image-record-wrong', meta('images', `sha256:${ids.plainImage}`)],
      ['blob-orphan', blob(ids.plainConfig)],
    ],
    images: ['plain:latest'],
  },
  {
    what: 'a record of an image with a wrong size',
    damage: () => records((table) => table('images').edit(`sha256:${ids.app}`, (value) => (value['size'] = 1))),
    told: () => [['image-record-wrong', meta('images', `sha256:${ids.app}`)]],
  },
  {
    what: 'a record of an image that is wrong about what it holds',
    damage: () => records((table) => table('images').edit(`sha256:${ids.app}`, (value) => (value['contentSize'] = 1))),
    told: () => [['image-record-wrong', meta('images', `sha256:${ids.app}`)]],
  },
  {
    what: 'a missing record of a blob',
    damage: () => records((table) => table('blobs').remove(`sha256:${ids.topBlob}`)),
    told: () => [['blob-record-missing', meta('blobs', `sha256:${ids.topBlob}`)]],
  },
  {
    what: 'a record of a blob that names another layer',
    damage: () =>
      records((table) =>
        table('blobs').edit(`sha256:${ids.topBlob}`, (value) => (value['diffID'] = `sha256:${ids.low}`)),
      ),
    told: () => [['blob-record-wrong', meta('blobs', `sha256:${ids.topBlob}`)]],
  },
  {
    what: 'records that are gone, all of them',
    damage: () => rmSync(at('meta/records')),
    told: () => [
      ['metadata-unreadable', 'meta'],
      ['snapshot-orphan', `snapshots/${ids.snapshot}`],
    ],
    left: () => [['snapshot-orphan', `snapshots/${ids.snapshot}`]],
    sound: [],
    async after() {
      const store = await openStore({ root });
      const names = [ids.app, ids.plainImage].map((hex) => `recovered:${hex.slice(0, 12)}`);
      expect(store.images().map(({ name }) => name)).toEqual(names.toSorted());
      expect([...(await exportsOf(store, names)).values()]).toEqual([digests.get('app'), digests.get('plain')]);
      await store.close();
    },
  },
  {
    what: 'a database cut short',
    damage: () => truncateSync(at('meta/records'), 5000),
    told: () => [
      ['metadata-unreadable', 'meta'],
      ['snapshot-orphan', `snapshots/${ids.snapshot}`],
    ],
    left: () => [['snapshot-orphan', `snapshots/${ids.snapshot}`]],
    sound: [],
  },
  // Everything else.
  {
    what: 'a version that is no number',
    damage: () => writeFileSync(at('version'), 'x\n'),
    told: () => [['version-wrong', 'version']],
  },
  { what: 'no version', damage: () => rmSync(at('version')), told: () => [['version-wrong', 'version']] },
  {
    what: 'a missing folder',
    damage: () => rmSync(at('ingest'), { recursive: true }),
    told: () => [['folder-missing', 'ingest']],
  },
  {
    what: 'a folder that others may look into',
    damage: () => chmodSync(at('objects'), 0o755),
    told: () => [['wrong-mode', 'objects']],
  },
  {
    what: 'the lock of an importer that is gone',
    damage: () => writeFileSync(at(`ingest/layer-${'3'.repeat(64)}`), ''),
    told: () => [['leftover', `ingest/layer-${'3'.repeat(64)}`]],
  },
  {
    what: 'the session of an importer that is gone',
    damage() {
      mkdirSync(at('ingest/session-0-AbCdEf/objects'), { recursive: true });
      writeFileSync(at('ingest/session-0-AbCdEf/lock'), '');
    },
    told: () => [['leftover', 'ingest/session-0-AbCdEf']],
  },
  {
    what: 'a merged tree half made',
    damage: () => mkdirSync(at('chains/.123-abc')),
    told: () => [['leftover', 'chains/.123-abc']],
  },
  {
    what: 'the entry of a mount whose server is gone',
    damage: () => writeFileSync(at('mounts/0123456789abcdef.json'), JSON.stringify({ mountpoint: '/nowhere' })),
    told: () => [['stale-mount', 'mounts/0123456789abcdef.json']],
  },
  {
    what: 'an entry of a mount half written',
    damage: () => writeFileSync(at('mounts/0123456789abcdef.json.tmp'), '{'),
    told: () => [['leftover', 'mounts/0123456789abcdef.json.tmp']],
  },
  {
    what: 'foreign files',
    damage() {
      writeFileSync(at('README'), 'mine');
      writeFileSync(at('objects/notes'), 'mine');
      mkdirSync(at('layers/backup'));
      writeFileSync(at('blobs/sha256/abc'), 'mine');
      writeFileSync(at('mounts/x'), 'mine');
      writeFileSync(at('ingest/x'), 'mine');
    },
    told: () =>
      ['README', 'blobs/sha256/abc', 'ingest/x', 'layers/backup', 'mounts/x', 'objects/notes'].map(
        (path) => ['foreign-file', path] as const,
      ),
    left: () =>
      ['README', 'blobs/sha256/abc', 'ingest/x', 'layers/backup', 'mounts/x', 'objects/notes'].map(
        (path) => ['foreign-file', path] as const,
      ),
  },
  {
    what: 'the folder of a snapshot without a record',
    damage() {
      mkdirSync(at('snapshots/00ff/upper'), { recursive: true, mode: 0o700 });
      mkdirSync(at('snapshots/00ff/work'));
      writeFileSync(at('snapshots/00ff/upper/file'), 'work');
    },
    told: () => [['snapshot-orphan', 'snapshots/00ff']],
    after: (report) =>
      expect(readFileSync(join(report.quarantine ?? '', 'snapshots/00ff/upper/file'), 'utf8')).toBe('work'),
  },
  {
    what: 'a snapshot without its folder',
    damage: () => rmSync(at(`snapshots/${ids.snapshot}`), { recursive: true }),
    told: () => [['snapshot-missing', `snapshots/${ids.snapshot}`]],
    images: ['snapshot work'],
    left: () => [['snapshot-missing', `snapshots/${ids.snapshot}`]],
  },
  {
    what: 'a snapshot without its work folder',
    damage: () => rmSync(at(`snapshots/${ids.snapshot}/work`), { recursive: true }),
    told: () => [['snapshot-missing', `snapshots/${ids.snapshot}/work`]],
  },
];

describe('damage of every kind', () => {
  test.each(CASES.map((each) => [each.what, each] as const))('%s', async (_, each) => {
    if (each.needsRoot === true && !isRoot) {
      console.warn(`skipped: ${each.what}: needs root`);
      return;
    }
    copyStore();
    await each.damage();
    const text = (list: readonly (readonly [string, string])[]): string[] =>
      list.map(([kind, path]) => `${kind} ${path}`);
    const found = await checkStore(root);
    expect(told(found)).toEqual(text(each.told()));
    if (each.images !== undefined) expect(found.problems[0].images).toEqual(each.images);
    const from = each.from?.();
    const repaired = await checkStore(root, { repair: true, ...(from === undefined ? {} : { from }) });
    const left = text(each.left?.() ?? []);
    const rest = await checkStore(root);
    expect(told(rest)).toEqual(left);
    // What is lost is told in the repair's report, whether anything is left to be found or not.
    const damage = each.lost ?? rest.problems.some(({ severity }) => severity !== 'notice');
    expect(repaired.state).toBe(damage ? 'damaged' : each.told()[0][0] === 'foreign-file' ? 'sound' : 'repaired');
    await each.after?.(repaired);
    const sound = each.sound ?? ['app', 'plain'];
    const store = await openStore({ root });
    try {
      for (const [name, digest] of await exportsOf(store, sound)) {
        if (each.rebuilt !== true || name !== 'app') expect([name, digest]).toEqual([name, digests.get(name)]);
      }
      for (const name of sound) expect(await contentOf(store, name)).toEqual(CONTENT[name]);
    } finally {
      await store.close();
    }
  });
});

const CONTENT: Readonly<Record<string, readonly string[]>> = {
  app: ['also', 'big', 'etc/motd', 'only-top', 'same']
    .map(
      (path) =>
        `${path} ${{ also: SHARED, big: BIG.toString(), 'etc/motd': 'bye\n', 'only-top': 'top\n', same: SHARED }[path] ?? ''}`,
    )
    .map((text) => sha256(Buffer.from(text))),
  plain: [`plain kept without its blob\n`, `same ${SHARED}`].map((text) => sha256(Buffer.from(text))),
};

async function contentOf(store: Store, name: string): Promise<string[]> {
  const paths = name === 'app' ? ['also', 'big', 'etc/motd', 'only-top', 'same'] : ['plain', 'same'];
  const all: string[] = [];
  for (const path of paths) {
    const { content } = await store.readFile(name, `/${path}`);
    const parts: Uint8Array[] = [];
    for await (const part of content) parts.push(part);
    all.push(sha256(Buffer.from(`${path} ${Buffer.concat(parts).toString()}`)));
  }
  return all;
}

describe('a check that is not alone, or does not come to its end', () => {
  test('a sound store has a clean report', async () => {
    copyStore();
    const report = await checkStore(root);
    expect(report).toMatchObject({ state: 'sound', problems: [], unsettled: [], affected: [], next: [], omitted: 0 });
    expect(report.checked).toMatchObject({ objects: 6, layers: 3, chains: 2, images: 2, snapshots: 1 });
    expect(readdirSync(at('fsck'))).toEqual(['lock']);
  });

  test('interrupted, it goes on where it was; what was damaged since in what was read is not seen, afresh it is', async () => {
    copyStore();
    const stop = new AbortController();
    const whole = checkStore(root, {
      signal: stop.signal,
      // Everything is read, nothing is compared.
      onProgress: ({ kind }) => kind === 'comparing' && stop.abort(),
    });
    await expect(whole).rejects.toMatchObject({ name: 'LayerfsError', code: 'aborted' });
    expect(existsSync(at('fsck/checkpoint.json'))).toBe(true);
    flip(ids.motd);
    const rest = await checkStore(root);
    expect(rest).toMatchObject({ state: 'sound', checked: { objects: 0, bytes: 0 } });
    expect(rest.resumed).toMatch(/^\d{4}-/);
    expect(existsSync(at('fsck/checkpoint.json'))).toBe(false);
    expect(told(await checkStore(root))).toEqual([`object-damaged ${ids.motd}`]);
  });

  test('afresh, it reads everything', async () => {
    copyStore();
    const stop = new AbortController();
    const options = {
      signal: stop.signal,
      onProgress: (event: { kind: string }) => event.kind === 'comparing' && stop.abort(),
    };
    await expect(checkStore(root, options)).rejects.toMatchObject({ code: 'aborted' });
    flip(ids.motd);
    const report = await checkStore(root, { afresh: true });
    expect(report.resumed).toBeUndefined();
    expect(told(report)).toEqual([`object-damaged ${ids.motd}`]);
  });

  test('what was found damaged before an interruption is looked at again', async () => {
    copyStore();
    flip(ids.motd);
    const stop = new AbortController();
    const options = {
      signal: stop.signal,
      onProgress: (event: { kind: string }) => event.kind === 'comparing' && stop.abort(),
    };
    await expect(checkStore(root, options)).rejects.toMatchObject({ code: 'aborted' });
    expect(told(await checkStore(root))).toEqual([`object-damaged ${ids.motd}`]);
  });

  test('a signal that has fired, or fires while it reads, ends it', async () => {
    copyStore();
    await expect(checkStore(root, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
    const stop = new AbortController();
    const reading = checkStore(root, {
      signal: stop.signal,
      onProgress: (event) => event.kind === 'reading' && event.done === 1 && stop.abort(),
    });
    await expect(reading).rejects.toMatchObject({ code: 'aborted' });
    // Nothing is held, nothing is left but where to go on.
    expect(await checkStore(root, { repair: true })).toMatchObject({ state: 'sound' });
  });

  test('interrupted at any moment, it ends', { timeout: 180_000 }, async () => {
    copyStore();
    // While threads start, while they load what they need, while they read.
    for (let wait = 0; wait < 120; wait += 10) {
      const check = checkStore(root, { signal: AbortSignal.timeout(wait), afresh: true });
      await check.catch((error: unknown) => expect(error).toMatchObject({ name: 'LayerfsError', code: 'aborted' }));
    }
    expect(await checkStore(root)).toMatchObject({ state: 'sound' });
  });

  test('a repair that is given a wrong path changes nothing', async () => {
    copyStore();
    flip(ids.motd);
    const repair = checkStore(root, { repair: true, from: [join(folder, 'nothing')] });
    await expect(repair).rejects.toMatchObject({ code: 'not-found' });
    expect(told(await checkStore(root))).toEqual([`object-damaged ${ids.motd}`]);
    expect(existsSync(at('quarantine'))).toBe(false);
  });

  test('imports and removals beside it are no problems', async () => {
    copyStore();
    const store = await openStore({ root });
    try {
      const work = (async () => {
        for (let i = 0; i < 6; i++) {
          writeFileSync(
            join(folder, 'more.tar'),
            tarOf({ path: `file-${i}`, data: `content ${i}` }, { path: 'same', data: SHARED }),
          );
          await store.import(join(folder, 'more.tar'), { name: `more-${i}` });
          if (i % 2 === 1) await store.removeImage(`more-${i}`);
        }
      })();
      for (let i = 0; i < 3; i++) expect(told(await checkStore(root))).toEqual([]);
      await work;
      expect(told(await checkStore(root))).toEqual([]);
    } finally {
      await store.close();
    }
  });

  test('the store of a newer layerfs is left alone, and what is no store is not made one', async () => {
    copyStore();
    writeFileSync(at('version'), '99\n');
    await expect(checkStore(root, { repair: true })).rejects.toMatchObject({ code: 'failed-precondition' });
    const none = join(folder, 'none');
    await expect(checkStore(none)).rejects.toMatchObject({ code: 'not-found' });
    expect(existsSync(none)).toBe(false);
  });
});

describe('under a mount', () => {
  test('damage that cannot be repaired is left to the mount; what can be is repaired under it', async (context) => {
    need(context, 'root', 'fuse');
    copyStore();
    flip(ids.kept);
    flip(ids.big);
    const store = await openStore({ root });
    const [plain, app] = ['plain', 'app'].map((name) => join(folder, `mnt-${name}`));
    for (const mountpoint of [plain, app]) mkdirSync(mountpoint);
    try {
      await spawnServer(store, 'plain', plain);
      await spawnServer(store, 'app', app);
      const before = readFileSync(join(plain, 'plain'), 'latin1');
      const repaired = await checkStore(root, { repair: true });
      expect(repaired.problems.map(({ path, outcome }) => [path, outcome?.state])).toEqual(
        [
          [ids.kept, 'left'],
          [ids.big, 'repaired'],
        ].toSorted((a, b) => ((a[0] ?? '') < (b[0] ?? '') ? -1 : 1)),
      );
      expect(readFileSync(join(plain, 'plain'), 'latin1')).toBe(before);
      expect(readFileSync(join(app, 'big')).equals(BIG)).toBe(true);
      await unmount(root, plain);
      await checkStore(root, { repair: true });
      expect(told(await checkStore(root))).toEqual([`object-missing ${ids.kept}`]);
      await unmount(root, app);
    } finally {
      for (const { mountpoint } of listMounts(root)) await unmount(root, mountpoint, { lazy: true });
      await store.close();
      for (const mountpoint of [plain, app]) rmSync(mountpoint, { recursive: true, force: true });
    }
  });
});

test('the command says what it found, and so does its exit code', async () => {
  copyStore();
  const run = (...args: string[]): ReturnType<typeof layerfs> => layerfs(['--root', root, 'fsck', ...args]);
  expect(await run()).toMatchObject({ code: 0, stdout: expect.stringContaining('the store is sound') as string });
  flip(ids.motd);
  const found = await run();
  expect(found.code).toBe(8);
  expect(found.stdout).toContain(`damage: object-damaged ${ids.motd}`);
  expect(found.stdout).toContain('affects  app:latest, snapshot work');
  expect(await run('--quiet')).toMatchObject({ code: 8, stdout: `object-damaged ${ids.motd}\n` });
  const json = JSON.parse((await run('--json')).stdout) as FsckReport;
  expect(json).toMatchObject({
    state: 'damaged',
    affected: APP,
    problems: [{ kind: 'object-damaged', path: ids.motd }],
  });
  const repaired = await run('--repair');
  expect(repaired.code).toBe(7);
  expect(repaired.stdout).toContain('repaired: made again from its compressed blob');
  expect((await run()).code).toBe(0);
  expect((await run('--repair', '--from', join(folder, 'nothing'))).code).toBe(3);
});
