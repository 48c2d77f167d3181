/** Reads an EROFS image by itself, as a kernel would and stricter: for tests of the writer. Nothing here is shared with it. */
export interface ReadInode {
  readonly nid: number;
  readonly extended: boolean;
  readonly layout: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly size: number;
  readonly mtime: readonly [seconds: number, nanoseconds: number];
  readonly rdev: number;
  readonly target: string | undefined;
  readonly xattrs: ReadonlyMap<string, string>;
}

export interface ReadImage {
  /** By path without a leading slash; the root's is empty. */
  readonly entries: ReadonlyMap<string, ReadInode>;
  readonly inodes: number;
  readonly incompatible: number;
  readonly uuid: Uint8Array;
}

const BLOCK = 4096;
const PREFIXES: Record<number, string> = { 1: 'user.', 4: 'trusted.', 6: 'security.' };
const WHOLE: Record<number, string> = { 2: 'system.posix_acl_access', 3: 'system.posix_acl_default' };
/** Dirent types by `mode >> 12`. */
const TYPES: Record<number, number> = { 8: 1, 4: 2, 2: 3, 6: 4, 1: 5, 12: 6, 10: 7 };

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** @throws Error naming what is wrong with the image */
export function readImage(bytes: Uint8Array): ReadImage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  check(bytes.length % BLOCK === 0, 'whole blocks');
  check(view.getUint32(1024, true) === 0xe0f5e1e2, 'magic');
  check(view.getUint32(1024 + 36, true) === bytes.length / BLOCK, 'number of blocks');
  check(checksum(bytes.slice(1024, BLOCK)) === view.getUint32(1028, true), 'checksum');
  const xattrArea = view.getUint32(1024 + 44, true) * BLOCK;
  const epoch = [Number(view.getBigInt64(1024 + 24, true)), view.getUint32(1024 + 32, true)] as const;

  const text = (at: number, length: number): string => {
    check(at + length <= bytes.length, 'within the image');
    return latin1(bytes.subarray(at, at + length));
  };

  const xattrsAt = (at: number, count: number): Map<string, string> => {
    const found = new Map<string, string>();
    if (count === 0) return found;
    check(count - 1 === bytes[at + 4], 'number of attributes');
    for (let i = 0; i < bytes[at + 4]; i++) {
      const entry = xattrArea + view.getUint32(at + 12 + 4 * i, true) * 4;
      const length = bytes[entry];
      const index = bytes[entry + 1];
      const name = WHOLE[index] ?? `${PREFIXES[index]}${text(entry + 4, length)}`;
      check(!found.has(name), 'each attribute once');
      found.set(name, text(entry + 4 + length, view.getUint16(entry + 2, true)));
    }
    return found;
  };

  const read = (nid: number): ReadInode & { readonly data: number } => {
    const at = nid * 32;
    const format = view.getUint16(at, true);
    const extended = (format & 1) === 1;
    const layout = format >> 1;
    const mode = view.getUint16(at + 4, true);
    const size = extended ? Number(view.getBigUint64(at + 8, true)) : view.getUint32(at + 8, true);
    const count = view.getUint16(at + 2, true);
    const base = at + (extended ? 64 : 32);
    const data = base + (count === 0 ? 0 : 12 + 4 * (count - 1));
    const type = mode >> 12;
    const device = type === 2 || type === 6;
    if (layout === 4) {
      const bits = view.getUint16(at + 16, true);
      check(bits <= 31, 'chunk size');
      for (let i = 0; i * 2 ** (12 + bits) < size; i++)
        check(view.getUint32(data + 4 * i, true) === 0xffffffff, 'hole');
    } else if (layout === 2) {
      const tail = size % BLOCK === 0 ? BLOCK : size % BLOCK;
      check(
        Math.floor((data + tail - 1) / BLOCK) === Math.floor(at / BLOCK),
        'inline data in one block with its inode',
      );
    } else check(layout === 0, 'layout');
    const inode = {
      nid,
      extended,
      layout,
      mode,
      size,
      uid: extended ? view.getUint32(at + 24, true) : view.getUint16(at + 24, true),
      gid: extended ? view.getUint32(at + 28, true) : view.getUint16(at + 26, true),
      nlink: extended ? view.getUint32(at + 44, true) : view.getUint16(at + 6, true),
      mtime: extended ? ([Number(view.getBigInt64(at + 32, true)), view.getUint32(at + 40, true)] as const) : epoch,
      rdev: device ? view.getUint32(at + 16, true) : 0,
      xattrs: xattrsAt(base, count),
    };
    const blocks = view.getUint32(at + 16, true) * BLOCK;
    const target = type === 10 ? text(layout === 2 ? data : blocks, size) : undefined;
    return { ...inode, target, data };
  };

  /** Name to nid and type, in order. */
  const list = (folder: ReadInode & { readonly data: number }): [string, number, number][] => {
    const found: [string, number, number][] = [];
    const blocks = view.getUint32(folder.nid * 32 + 16, true) * BLOCK;
    for (let done = 0; done < folder.size; done += BLOCK) {
      const length = Math.min(BLOCK, folder.size - done);
      const inline = folder.layout === 2 && done + BLOCK >= folder.size;
      const at = inline ? folder.data : blocks + done;
      const count = view.getUint16(at + 8, true) / 12;
      for (let i = 0; i < count; i++) {
        const from = view.getUint16(at + 12 * i + 8, true);
        const to = i + 1 < count ? view.getUint16(at + 12 * (i + 1) + 8, true) : length;
        const name = text(at + from, to - from).replace(/\0+$/, '');
        check(/^[^\0/]+$/s.test(name), 'name');
        check((found.at(-1)?.[0] ?? '') < name, 'order of names');
        found.push([name, Number(view.getBigUint64(at + 12 * i, true)), bytes[at + 12 * i + 10]]);
      }
    }
    return found;
  };

  const entries = new Map<string, ReadInode>();
  const seen = new Set<number>();
  const walk = (path: string, nid: number, parent: number): void => {
    const { data, ...inode } = read(nid);
    entries.set(path, inode);
    seen.add(nid);
    if (inode.mode >> 12 !== 4) return;
    const names = list({ ...inode, data });
    const dots = names.filter(([name]) => name === '.' || name === '..').map(([, to, type]) => [to, type]);
    check(
      String(dots) ===
        String([
          [nid, 2],
          [parent, 2],
        ]),
      '. and ..',
    );
    for (const [name, child, type] of names) {
      if (name === '.' || name === '..') continue;
      check(TYPES[read(child).mode >> 12] === type, 'type of a dirent');
      walk(path === '' ? name : `${path}/${name}`, child, nid);
    }
  };
  const root = view.getUint16(1024 + 14, true);
  walk('', root, root);
  check(seen.size === Number(view.getBigUint64(1024 + 16, true)), 'number of inodes');
  return {
    entries,
    inodes: seen.size,
    incompatible: view.getUint32(1024 + 80, true),
    uuid: bytes.slice(1024 + 48, 1024 + 64),
  };
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`EROFS image: ${what}`);
}

/** Bit by bit, with the stored sum taken as zero. */
function checksum(superblock: Uint8Array): number {
  superblock.fill(0, 4, 8);
  let sum = 0xffffffff;
  for (const byte of superblock) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  }
  return sum >>> 0;
}
