/** A folder as a disk may hold it: inodes and what names them, changed by recorded operations, cheap to copy. */
import { createHash } from 'node:crypto';
import { mkdirSync, linkSync, writeFileSync } from 'node:fs';
import { ROOT, type Operation } from '../record/log.js';

/** What became of an operation: all of it reached the disk, nothing, or of a write its length only or its first bytes. */
export type Fate = 'kept' | 'lost' | 'zeroed' | { readonly torn: number };

/** A file's content, by what made it. */
interface Content {
  /** The same for the same content. */
  readonly key: string;
  readonly before: Content | undefined;
  readonly op: Operation | undefined;
  readonly fate: Fate;
}

/** Never changed, only replaced: disks share them. */
interface Inode {
  readonly mode: number;
  /** Of a folder. */
  readonly names?: ReadonlyMap<string, number>;
  readonly content: Content;
}

const EMPTY: Content = { key: '', before: undefined, op: undefined, fate: 'kept' };
const MAX_CACHED = 2000;
const cached = new Map<string, Uint8Array>();

function bytesOf(content: Content): Uint8Array {
  const known = cached.get(content.key);
  if (known !== undefined) return known;
  const changes: Content[] = [];
  for (let at: Content | undefined = content; at?.op !== undefined; at = at.before) changes.unshift(at);
  let bytes: Uint8Array = new Uint8Array();
  for (const { op, fate } of changes) {
    if (op?.op === 'size') bytes = resized(bytes, op.size);
    if (op?.op !== 'write') continue;
    const part = typeof fate === 'object' ? op.data.subarray(0, fate.torn) : op.data;
    if (bytes.length < op.offset + part.length) bytes = resized(bytes, op.offset + part.length);
    // Only where there was nothing: what is overwritten in place keeps its old bytes.
    if (fate !== 'zeroed') bytes.set(part, op.offset);
  }
  if (cached.size >= MAX_CACHED) cached.clear();
  cached.set(content.key, bytes);
  return bytes;
}

export class Disk {
  readonly #inodes: Map<number, Inode>;

  constructor(from?: Disk) {
    this.#inodes =
      from === undefined ? new Map([[ROOT, { mode: 0o755, names: new Map(), content: EMPTY }]]) : new Map(from.#inodes);
  }

  /** Does the operation with a number, as far as what it is about is there. */
  apply(op: Operation, number: number, fate: Fate): void {
    if (fate === 'lost') return;
    switch (op.op) {
      case 'create':
        this.#inodes.set(op.id, { mode: op.mode, content: EMPTY });
        this.#name(op.parent, op.name, op.id);
        break;
      case 'mkdir':
        this.#inodes.set(op.id, { mode: op.mode, names: new Map(), content: EMPTY });
        this.#name(op.parent, op.name, op.id);
        break;
      case 'link':
        if (this.#inodes.has(op.id)) this.#name(op.parent, op.name, op.id);
        break;
      case 'unlink':
      case 'rmdir':
        this.#unname(op.parent, op.name, op.id);
        break;
      case 'rename':
        if (this.#unname(op.parent, op.name, op.id)) this.#name(op.toParent, op.toName, op.id);
        break;
      case 'exchange':
        if (this.#unname(op.parent, op.name, op.id)) this.#name(op.toParent, op.toName, op.id);
        if (this.#inodes.has(op.other)) this.#name(op.parent, op.name, op.other);
        break;
      case 'write':
      case 'size': {
        const inode = this.#inodes.get(op.id);
        if (inode === undefined) break;
        const what = typeof fate === 'object' ? fate.torn : fate === 'zeroed' ? 'z' : '';
        const key = `${inode.content.key},${number}${what === '' ? '' : `:${what}`}`;
        this.#inodes.set(op.id, { ...inode, content: { key, before: inode.content, op, fate } });
        break;
      }
      case 'mode': {
        const inode = this.#inodes.get(op.id);
        if (inode !== undefined) this.#inodes.set(op.id, { ...inode, mode: op.mode });
        break;
      }
      case 'mark':
      case 'sync':
      case 'sync-begin':
      case 'sync-end':
        break;
    }
  }

  #name(parent: number, name: string, id: number): void {
    const folder = this.#inodes.get(parent);
    if (folder?.names === undefined) return;
    this.#inodes.set(parent, { ...folder, names: new Map(folder.names).set(name, id) });
  }

  #unname(parent: number, name: string, id: number): boolean {
    const folder = this.#inodes.get(parent);
    if (folder?.names?.get(name) !== id) return false;
    const names = new Map(folder.names);
    names.delete(name);
    this.#inodes.set(parent, { ...folder, names });
    return true;
  }

  /** The same for disks that look the same. */
  fingerprint(): string {
    const hash = createHash('sha1');
    this.#walk(ROOT, '', (path, inode) => {
      hash.update(`${path} ${inode.mode} ${inode.content.key}\n`, 'latin1');
    });
    return hash.digest('base64');
  }

  /** Writes it to a folder that does not exist. */
  writeTo(folder: string): void {
    const written = new Map<Inode, string>();
    this.#walk(ROOT, folder, (path, inode) => {
      const first = written.get(inode);
      if (inode.names !== undefined) mkdirSync(path, { mode: inode.mode });
      else if (first !== undefined) linkSync(first, path);
      else {
        writeFileSync(path, bytesOf(inode.content), { mode: inode.mode });
        written.set(inode, path);
      }
    });
  }

  #walk(id: number, path: string, visit: (path: string, inode: Inode) => void): void {
    const inode = this.#inodes.get(id);
    if (inode === undefined) return;
    visit(path, inode);
    for (const [name, child] of [...(inode.names ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) {
      this.#walk(child, `${path}/${name}`, visit);
    }
  }
}

/** A copy of another length. */
function resized(data: Uint8Array, size: number): Uint8Array {
  const result = new Uint8Array(size);
  result.set(data.subarray(0, size));
  return result;
}
