/** Operations of the hot paths, each on data that is made once. */
import { createHash } from 'node:crypto';
import { Attr, Connection, Reply, Request } from '@layerfs/fuse';
import xxhash from 'xxhash-wasm';
import { planMake, planMove, planRemove } from '../../../packages/layerfs/dist/core/overlay/plans.js';
import { parseHeader } from '../../../packages/layerfs/dist/core/tar/header.js';
import { TreeBuilder } from '../../../packages/layerfs/dist/core/tree/builder.js';
import { mergeTrees } from '../../../packages/layerfs/dist/core/tree/merge.js';
import { Tree } from '../../../packages/layerfs/dist/core/tree/tree.js';
import { whiteoutOf } from '../../../packages/layerfs/dist/core/tree/whiteout.js';
import { mergeListing } from '../../../packages/layerfs/dist/mount/union/folders/merge.js';
import { TreeFileSystem } from '../../../packages/layerfs/dist/mount/filesystem/tree-filesystem.js';
import { tarHeader } from '../data/tar.js';

/** One operation. */
export interface Case {
  readonly name: string;
  readonly run: () => void;
}

const GETATTR = 3;
const LOOKUP = 1;
const READDIRPLUS = 44;
const IN_HEADER = 40;
/** DT_REG. */
const REGULAR = 8;
const FOLDERS = 100;
const FILES = 100;

/** @returns all operations that are measured */
export async function makeCases(): Promise<Case[]> {
  const hash = await xxhash();
  const bytes = treeBytes(hash, 0);
  const tree = Tree.open(bytes);
  const layers = [0, 1, 2].map((layer) => Tree.open(treeBytes(hash, layer, 10)));
  const paths = [...tree.walk()].map(({ path }) => path);
  const large = Buffer.alloc(64 * 1024, 1);
  const small = Buffer.alloc(256, 1);
  const header = tarHeader('usr/share/doc/a-package/changelog.gz', '0', 12_345);
  let next = 0;
  return [
    {
      name: `tree: resolve a path among ${paths.length} entries`,
      run: () => void tree.resolve(paths[next++ % paths.length]),
    },
    { name: 'tree: open', run: () => void Tree.open(bytes) },
    { name: 'tree: merge 3 layers of 1,000 entries', run: () => void mergeTrees(layers, { hash }) },
    { name: 'readdir: merge 3 folders of 1,000 names', run: mergeFolders() },
    { name: 'whiteout: read a name', run: () => void whiteoutOf(next++ % 2 === 0 ? '.wh.gone' : 'ordinary') },
    { name: 'whiteout: plan removing, making and moving', run: planAll },
    ...wireCases(tree),
    { name: 'xxh64 of 64 KiB (xxhash-wasm)', run: () => void hash.create64().update(large).digest() },
    { name: 'xxh64 of 256 B (xxhash-wasm)', run: () => void hash.create64().update(small).digest() },
    { name: 'sha256 of 64 KiB (node:crypto)', run: () => void createHash('sha256').update(large).digest() },
    { name: 'sha256 of 256 B (node:crypto)', run: () => void createHash('sha256').update(small).digest() },
    { name: 'tar: parse a header', run: () => void parseHeader(header, 0) },
  ];
}

/** Of each folder a third of the names are its own, and some hide others; reading them from a disk is left out. */
function mergeFolders(): () => void {
  const names = [0, 1, 2].map((layer) =>
    Array.from({ length: 1000 }, (_, i) =>
      i % 3 === 0 ? `${i % 60 === 0 ? '.wh.' : ''}file-${i}-of-${layer}` : `file-${i}`,
    ),
  );
  const parts = names.map((_, layer) => ({
    layer,
    parent: undefined,
    name: '',
    xwhiteouts: false,
    markers: undefined,
  }));
  const list = ({ layer }: { readonly layer: number }, visit: (name: string, type: number) => void): void => {
    for (const name of names[layer]) visit(name, REGULAR);
  };
  return () => void mergeListing({ list } as unknown as Parameters<typeof mergeListing>[0], parts);
}

function planAll(): void {
  const state = { upper: 'folder', below: 'folder' } as const;
  planRemove(state);
  planMake(state, true);
  planMove({ isFolder: true, continues: true }, state, { upper: 'whiteout', below: 'file' });
}

/** Folders of 100 files each; of each layer a third of the names are its own. */
function treeBytes(hash: Parameters<typeof mergeTrees>[1]['hash'], layer: number, folders = FOLDERS): Uint8Array {
  const builder = new TreeBuilder();
  const attributes = { uid: 0, gid: 0, mtimeSec: 1_700_000_000 };
  for (let i = 0; i < folders; i++) {
    const folder = builder.addInode({ mode: 0o040755, ...attributes });
    builder.link(1, `folder-${i}`, folder);
    for (let j = 0; j < FILES; j++) {
      const name = j % 3 === 0 ? `file-${j}-of-${layer}` : `file-${j}`;
      builder.link(folder, name, builder.addInode({ mode: 0o100644, ...attributes }));
    }
  }
  return builder.finish({ layers: [new Uint8Array(32).fill(layer)], hash });
}

/** Requests as the kernel writes them, answered as it reads them; only the device is missing. */
function wireCases(tree: Tree): Case[] {
  const served = new TreeFileSystem(tree, { passthrough: false, defaultPermissions: false });
  const folder = tree.resolve('folder-7');
  const attr = new Attr();
  const constant = {
    init: { capabilities: [] },
    getattr: (_: unknown, __: unknown, reply: Reply) => reply.attr(attr, 60),
  };
  const readdir = Buffer.alloc(40);
  readdir.writeUInt32LE(64 * 1024, 16);
  const one = (name: string, fs: ConstructorParameters<typeof Connection>[1], ...what: RequestParts): Case => {
    const connection = new Connection(-1, fs);
    const [request, length] = requestOf(...what);
    const reply = new Reply(128 * 1024);
    connection.dispatch(request, reply, length);
    if (reply.errno !== 0) throw new Error(`${name}: errno ${reply.errno}`);
    return { name, run: () => connection.dispatch(request, reply, length) };
  };
  return [
    one('fuse: decode and encode GETATTR', constant, GETATTR, 1, Buffer.alloc(16)),
    one('fuse: serve LOOKUP out of the tree', served, LOOKUP, folder, Buffer.from('file-50\0')),
    one(`fuse: serve READDIRPLUS of ${FILES} entries`, served, READDIRPLUS, folder, readdir),
  ];
}

type RequestParts = readonly [opcode: number, nodeid: number, body: Buffer];

function requestOf(...[opcode, nodeid, body]: RequestParts): [Request, number] {
  const request = new Request(Buffer.from(new ArrayBuffer(4096)));
  const length = IN_HEADER + body.length;
  request.bytes.writeUInt32LE(length, 0);
  request.bytes.writeUInt32LE(opcode, 4);
  request.bytes.writeUInt32LE(nodeid, 16);
  body.copy(request.bytes, IN_HEADER);
  return [request, length];
}
