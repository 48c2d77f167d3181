/** Made-up stacks of any size: layers whose folders all merge. */
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { LAYERFS, run } from '../harness/programs.js';
import type { Stack } from '../peers/peer.js';
import { LayoutWriter } from './layout.js';
import { BLOCK, tarHeader } from './tar.js';

/** What a stack is like. Each layer has all folders, and every `layers`th file of each. */
export interface Shape {
  readonly layers: number;
  readonly folders: number;
  /** In each folder, in all layers together. */
  readonly files: number;
  /** Of each file. */
  readonly bytes: number;
}

/** A stack, and some paths in it. */
export interface Synthetic {
  readonly stack: Stack;
  /** Of files, relative, in no order. */
  readonly paths: readonly string[];
}

const CHUNK = 1 << 20;

/** Makes one in an empty folder. Root only. @param sample how many paths to give */
export function makeSynthetic(folder: string, shape: Shape, sample: number): Synthetic {
  const [lowers, store, plain] = ['lowers', 'store', 'plain'].map((name) => join(folder, name));
  mkdirSync(lowers);
  const tars = Array.from({ length: shape.layers }, (_, layer) => {
    const tar = join(folder, `${layer}.tar`);
    writeTar(tar, shape, layer);
    mkdirSync(join(lowers, String(layer)));
    return tar;
  });
  // Two at once, as of a million files each step takes long.
  const unpack = 'seq 0 "$2" | xargs -P 2 -I "{}" tar -x -f "$1/{}.tar" -C "$1/lowers/{}"';
  run('sh', '-c', unpack, 'sh', folder, String(shape.layers - 1));
  const layout = new LayoutWriter(join(folder, 'layout'));
  layout.image(
    tars.map((tar) => layout.plainLayer(readFileSync(tar))),
    'latest',
  );
  layout.finish();
  run(LAYERFS, '--root', store, 'import', join(folder, 'layout'), '--name', 'bench', '-q');
  run('rm', '-rf', join(folder, 'layout'), ...tars);
  // What peers show is what the plain folder has: the same names, each once. Links, as copies of a million files take minutes.
  mkdirSync(plain);
  for (let layer = 0; layer < shape.layers; layer++) run('cp', '-al', `${join(lowers, String(layer))}/.`, plain);
  const order = Array.from({ length: shape.layers }, (_, layer) => join(lowers, String(layer)));
  return { stack: { store, image: 'bench', lowers: order.toReversed(), plain }, paths: samplePaths(shape, sample) };
}

function path(folder: number, file: number): string {
  return `folder-${folder}/file-${String(file).padStart(7, '0')}`;
}

/** At random, but the same each time. */
function samplePaths({ folders, files }: Shape, sample: number): string[] {
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >>> 8) % below;
  };
  return Array.from({ length: sample }, () => path(random(folders), random(files)));
}

function writeTar(tar: string, { layers, folders, files, bytes }: Shape, layer: number): void {
  const fd = openSync(tar, 'w');
  let waiting: Buffer[] = [];
  let size = 0;
  const put = (piece: Buffer): void => {
    waiting.push(piece);
    size += piece.length;
    if (size < CHUNK) return;
    writeSync(fd, Buffer.concat(waiting));
    [waiting, size] = [[], 0];
  };
  for (let folder = 0; folder < folders; folder++) {
    put(tarHeader(`folder-${folder}/`, '5', 0));
    for (let file = layer; file < files; file += layers) {
      put(tarHeader(path(folder, file), '0', bytes));
      for (let at = 0; at < bytes; at += CHUNK) put(content(folder * files + file, at, Math.min(CHUNK, bytes - at)));
      put(Buffer.alloc(-bytes & (BLOCK - 1)));
    }
  }
  put(Buffer.alloc(2 * BLOCK));
  writeSync(fd, Buffer.concat(waiting));
  closeSync(fd);
}

/** No two files are the same. */
function content(file: number, at: number, length: number): Buffer {
  const line = Buffer.from(`file ${file} from ${at}\n`);
  return Buffer.alloc(length, line);
}
