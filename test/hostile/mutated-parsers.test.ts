/**
 * 20,000 damaged tars through parser, layer rules, tree builder, tree reader (with its complete check) and merge, in
 * memory: each gives a tree that can be walked or one of our errors, and no byte of an archive is lost on the way.
 */
import { expect, test } from 'vitest';
import { LayerfsError } from '../../packages/layerfs/src/core/error.js';
import { LayerReader } from '../../packages/layerfs/src/core/tar/layer.js';
import { TarParser } from '../../packages/layerfs/src/core/tar/parser.js';
import { TreeBuilder } from '../../packages/layerfs/src/core/tree/builder.js';
import { mergeTrees } from '../../packages/layerfs/src/core/tree/merge.js';
import { Tree } from '../../packages/layerfs/src/core/tree/tree.js';
import { mutateTar, Random } from './mutator.js';
import { smallBase, smallLayer } from './small-layer.js';

const TARS = 20_000;
const TREES = 5000;
const LONGEST_MS = 2000;

/** Stands for xxh64: the check must only notice changes, and here nothing changes. */
const hash = {
  create64() {
    let sum = 0;
    const self = {
      update(bytes: Uint8Array) {
        for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) | 0;
        return self;
      },
      digest: () => BigInt(sum >>> 0),
    };
    return self;
  },
};

function treeOf(tar: Uint8Array, step: number): Tree {
  const builder = new TreeBuilder();
  const reader = new LayerReader(builder);
  let ino = 0;
  let size = 0;
  let objects = 0;
  let seen = 0;
  const parser = new TarParser({
    literal(bytes) {
      seen += bytes.length;
    },
    entry(entry) {
      ino = reader.add(entry);
      size = entry.size;
    },
    content(bytes) {
      seen += bytes.length;
    },
    end() {
      if (ino === 0 || size === 0) return;
      const digest = new Uint8Array(32);
      new DataView(digest.buffer).setUint32(0, objects++);
      builder.setContent(ino, builder.addObject(digest), size);
    },
  });
  for (let at = 0; at < tar.length; at += step) parser.push(tar.subarray(at, at + step));
  parser.finish();
  if (seen !== tar.length) throw new Error(`${tar.length - seen} bytes of the archive were handed to nobody`);
  return Tree.open(builder.finish({ layers: [new Uint8Array(32)], hash }), { verify: hash });
}

test(`${TARS} damaged tars`, { timeout: 300_000 }, () => {
  const base = treeOf(smallBase(), 4096);
  const original = smallLayer();
  expect(mergeTrees([base, treeOf(original, 100)], { hash }).length).toBeGreaterThan(1000);
  let whole = 0;
  const reasons = new Map<string, number>();
  let longest = 0;
  for (let seed = 1; seed <= TARS; seed++) {
    const start = performance.now();
    try {
      const tree = treeOf(mutateTar(original, new Random(seed)), 1 + (seed % 3000));
      const merged = Tree.open(mergeTrees([base, tree], { hash }), { verify: hash });
      for (const { path, ino } of merged.walk())
        if (path.split('/').includes('..')) throw new Error(`inode ${ino} has the path ${path}`);
      whole++;
    } catch (error) {
      const ours = error instanceof LayerfsError && error.code !== 'internal';
      if (!ours) throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      const reason = `${error.code} ${error.message.replace(/(entry|hardlink) .*?:|".*?"|\d+/g, '…')}`;
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    longest = Math.max(longest, performance.now() - start);
  }
  console.log(`${TARS} tars: ${whole} whole, ${reasons.size} different errors, longest ${longest.toFixed(0)} ms`);
  expect(whole).toBeGreaterThan(TARS / 10);
  expect(reasons.size).toBeGreaterThan(30);
  expect(longest).toBeLessThan(LONGEST_MS);
});

test(`${TREES} damaged tree files, as a failing disk makes them`, { timeout: 300_000 }, () => {
  const sound = mergeTrees([treeOf(smallBase(), 4096), treeOf(smallLayer(), 4096)], { hash });
  let walked = 0;
  for (let seed = 1; seed <= TREES; seed++) {
    const random = new Random(seed);
    const file = Uint8Array.from(sound);
    for (let times = 1 + random.below(8); times > 0; times--) file[random.below(file.length)] = random.below(256);
    const cut = random.below(10) === 0 ? random.below(file.length) : file.length;
    try {
      readAll(Tree.open(file.subarray(0, cut)));
      walked++;
    } catch (error) {
      if (!(error instanceof LayerfsError)) throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      expect(`${error.code} ${error.message}`).toMatch(/^(corrupt|invalid-argument|unimplemented) /);
    }
  }
  expect(walked).toBeGreaterThan(TREES / 10);
});

/** Every accessor on every inode; loops that damage could make are cut off. */
function readAll(tree: Tree): void {
  let seen = 0;
  for (const { path, dirent, ino } of tree.walk()) {
    if (++seen > 10_000) throw new LayerfsError('corrupt', 'more names than the file has bytes for');
    tree.direntName(dirent);
    tree.xattrs(ino);
    tree.resolve(path);
    if (tree.isDirectory(ino)) tree.lookup(ino, 'file');
    else if ((tree.mode(ino) & 0o170000) === 0o120000) tree.symlinkTarget(ino);
    else tree.objectDigest(ino);
  }
}
