import { closeSync, openSync, writeSync } from 'node:fs';
import type { ServedRequest } from '@layerfs/fuse';
import { errnoCode } from '@layerfs/linux';
import { printable } from '../../core/bytes.js';
import { ROOT } from '../../core/tree/format.js';
import type { Tree } from '../../core/tree/tree.js';

const FLUSH_BYTES = 1 << 16;

/**
 * The file of `--trace`: a line for each request, its fields separated by tabs: time of the answer (ISO 8601, UTC, microseconds),
 * opcode, nodeid, path, microseconds, result (`ok` or the errno's name), bytes of the answer with its 16 bytes of header.
 */
export class TraceFile {
  readonly #fd: number;
  readonly #paths: PathIndex;
  #waiting = '';

  /** @throws Error of node:fs when the file cannot be opened for appending */
  constructor(file: string, tree: Tree) {
    this.#fd = openSync(file, 'a', 0o640);
    this.#paths = new PathIndex(tree);
    this.#waiting = '# time\topcode\tnodeid\tpath\tmicros\tresult\tbytes\n';
  }

  /** Adds a line; for {@link ConnectionHooks.onRequest}. */
  readonly record = (request: ServedRequest): void => {
    const now = performance.timeOrigin + performance.now();
    const folder = this.#paths.path(request.nodeid);
    const path = request.name === undefined ? folder : `${folder === '/' ? '' : folder}/${request.name}`;
    this.#waiting +=
      `${microTime(now)}\t${request.opcode}\t${String(request.nodeid)}\t${printable(path)}\t` +
      `${request.micros.toFixed(1)}\t${request.errno === 0 ? 'ok' : errnoCode(request.errno)}\t${String(request.bytes)}\n`;
    if (this.#waiting.length > FLUSH_BYTES) this.flush();
  };

  /** Writes out what waits. */
  flush(): void {
    if (this.#waiting === '') return;
    writeSync(this.#fd, this.#waiting);
    this.#waiting = '';
  }

  close(): void {
    this.flush();
    closeSync(this.#fd);
  }
}

function microTime(millis: number): string {
  const micros = Math.floor((millis % 1) * 1000);
  return `${new Date(millis).toISOString().slice(0, -1)}${String(micros).padStart(3, '0')}Z`;
}

/** A path of each inode: the first of its names. Only made for traces, as it needs a table of all inodes. */
class PathIndex {
  readonly #tree: Tree;
  readonly #parents: Uint32Array;
  readonly #dirents: Uint32Array;

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#parents = new Uint32Array(tree.inodeCount + 1);
    this.#dirents = new Uint32Array(tree.inodeCount + 1);
    for (let folder = ROOT; folder <= tree.inodeCount; folder++) {
      const first = tree.firstDirent(folder);
      const end = first + tree.childCount(folder);
      for (let dirent = first; dirent < end; dirent++) {
        const ino = tree.direntInode(dirent);
        if (ino === 0 || this.#parents[ino] !== 0) continue;
        this.#parents[ino] = folder;
        this.#dirents[ino] = dirent;
      }
    }
  }

  path(nodeid: number): string {
    if (nodeid === ROOT) return '/';
    if (!this.#tree.has(nodeid)) return '?';
    const names: string[] = [];
    // A damaged tree might go in circles; a path has at most 2048 names.
    for (let ino = nodeid; ino > ROOT && names.length < 2048; ino = this.#parents[ino]) {
      names.push(this.#tree.direntName(this.#dirents[ino]));
    }
    return `/${names.toReversed().join('/')}`;
  }
}
