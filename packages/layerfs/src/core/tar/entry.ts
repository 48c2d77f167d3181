/**
 * Puts together what several headers say about one entry: PAX records (local before global), GNU long names and the
 * header proper, in the order of precedence that Go's archive/tar, GNU tar and libarchive agree on.
 */
import { latin1, latin1Bytes, printable } from '../bytes.js';
import { LayerfsError } from '../error.js';
import type { TarHeader } from './header.js';
import { parsePax, paxNumber, paxTime, type PaxRecord } from './pax.js';
import { MAX_SPARSE_RANGES, gnuNumber, oldGnuRanges, paxRanges, type SparseRange } from './sparse.js';

/** What kind of file an entry makes. */
export type TarEntryType = 'file' | 'hardlink' | 'symlink' | 'character' | 'block' | 'folder' | 'fifo';

/** One entry with everything its headers say. Byte strings are latin1; sizes in bytes; times as in stat. */
export interface TarEntry {
  readonly type: TarEntryType;
  readonly path: string;
  /** Target of a link; '' otherwise. */
  readonly linkname: string;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Size of the file, holes included; 0 for everything else. */
  readonly size: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly devmajor: number;
  readonly devminor: number;
  readonly xattrs: readonly (readonly [name: string, value: Uint8Array])[];
  /** Data ranges of a sparse file. */
  readonly sparse?: readonly SparseRange[];
  /** Where the entry's last header lies in the archive. */
  readonly offset: number;
}

const TYPES: Readonly<Record<string, TarEntryType>> = {
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'folder',
  '6': 'fifo',
  '7': 'file',
  S: 'file',
};

const MAX_ID = 0xffff_fffe;

/** Reads the meta entries that precede an entry, then the entry. */
export class EntryReader {
  #global = new Map<string, string>();
  #local: PaxRecord[] | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;

  /** Whether a type flag marks an entry that only describes others. */
  static isMeta(type: string): boolean {
    return type === 'x' || type === 'g' || type === 'L' || type === 'K' || type === 'X';
  }

  /** Takes the body of a meta entry. */
  meta(header: TarHeader, body: Uint8Array, offset: number): void {
    if (header.type === 'L' || header.type === 'K') {
      const end = body.indexOf(0);
      const name = latin1(body, 0, end < 0 ? body.length : end);
      if (header.type === 'L') this.#longName = name;
      else this.#longLink = name;
    } else if (header.type === 'g') {
      for (const [key, value] of parsePax(body, offset)) {
        if (value === '') this.#global.delete(key);
        else this.#global.set(key, value);
      }
    } else this.#local = [...(this.#local ?? []), ...parsePax(body, offset)];
  }

  /** The archive ends: meta entries must not be left over. */
  finish(offset: number): void {
    if (this.#local !== undefined || this.#longName !== undefined || this.#longLink !== undefined) {
      throw new LayerfsError('corrupt', `tar ends at byte ${offset} behind an extended header without its entry`);
    }
  }

  /** The first part of an old GNU sparse map, in the header itself. */
  oldSparse(block: Uint8Array, offset: number): { ranges: SparseRange[]; size: number; more: boolean } {
    return {
      ranges: oldGnuRanges(block, 386, 4, offset),
      size: gnuNumber(block, 483, offset),
      more: block[482] !== 0,
    };
  }

  /** A further block of an old GNU sparse map; returns whether one more follows. */
  moreSparse(block: Uint8Array, offset: number, ranges: SparseRange[]): boolean {
    for (const range of oldGnuRanges(block, 0, 21, offset)) ranges.push(range);
    if (ranges.length > MAX_SPARSE_RANGES) {
      throw new LayerfsError('corrupt', `sparse map at byte ${offset}: too many ranges`);
    }
    return block[504] !== 0;
  }

  /**
   * The entry itself. `dataSize` is how many bytes follow; `sparse` the ranges of PAX 0.x, or 'map' for PAX 1.0,
   * whose map is the first part of the data.
   */
  entry(
    header: TarHeader,
    offset: number,
  ): { entry: TarEntry; dataSize: number; sparse: SparseRange[] | 'map' | undefined } {
    const records = this.#local ?? [];
    const pax = new Map([...this.#global, ...records]);
    let type = TYPES[header.type];
    const path = pax.get('GNU.sparse.name') || pax.get('path') || (this.#longName ?? header.name);
    const linkname = pax.get('linkpath') || (this.#longLink ?? header.linkname);
    this.#local = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    if (type === undefined) {
      throw new LayerfsError(
        'unimplemented',
        `tar header at byte ${offset}: entry ${printable(path)} has the unknown type ${printable(header.type)}`,
      );
    }
    // v7 tars mark folders by their name alone.
    if (type === 'file' && path.endsWith('/')) type = 'folder';
    let size = pax.has('size') ? paxNumber('size', pax.get('size') ?? '', offset) : header.size;
    if (type !== 'file') size = 0;
    const time = pax.has('mtime') ? paxTime('mtime', pax.get('mtime') ?? '', offset) : { sec: header.mtime, nsec: 0 };
    const entry: TarEntry = {
      type,
      path,
      linkname: type === 'hardlink' || type === 'symlink' ? linkname : '',
      mode: header.mode & 0o7777,
      uid: id(pax, 'uid', header.uid, offset),
      gid: id(pax, 'gid', header.gid, offset),
      size,
      mtimeSec: time.sec,
      mtimeNsec: time.nsec,
      devmajor: header.devmajor,
      devminor: header.devminor,
      xattrs: xattrsOf(pax, offset),
      offset,
    };
    const sparse = type === 'file' ? sparseOf(pax, records, offset) : undefined;
    if (sparse === undefined) return { entry, dataSize: size, sparse: undefined };
    const real = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size');
    if (real === undefined) throw new LayerfsError('corrupt', `sparse entry at byte ${offset}: no real size`);
    return { entry: { ...entry, size: paxNumber('GNU.sparse.realsize', real, offset) }, dataSize: size, sparse };
  }
}

function id(pax: ReadonlyMap<string, string>, key: 'uid' | 'gid', value: number, offset: number): number {
  const text = pax.get(key);
  const number = text === undefined ? value : paxNumber(key, text, offset);
  if (number > MAX_ID) throw new LayerfsError('corrupt', `tar header at byte ${offset}: ${key} ${number} is too large`);
  return number;
}

function sparseOf(
  pax: ReadonlyMap<string, string>,
  records: readonly PaxRecord[],
  offset: number,
): SparseRange[] | 'map' | undefined {
  const major = pax.get('GNU.sparse.major');
  if (major === '1' && pax.get('GNU.sparse.minor') === '0') return 'map';
  if (major !== undefined && major !== '0') {
    throw new LayerfsError('unimplemented', `tar header at byte ${offset}: sparse format ${printable(major)}`);
  }
  const ranges = paxRanges(records, offset);
  const count = pax.get('GNU.sparse.numblocks');
  if (
    ranges !== undefined &&
    count !== undefined &&
    paxNumber('GNU.sparse.numblocks', count, offset) !== ranges.length
  ) {
    throw new LayerfsError('corrupt', `sparse entry at byte ${offset}: ${ranges.length} ranges, ${count} promised`);
  }
  return ranges;
}

/** Extended attributes as GNU tar, bsdtar and Go write them: raw values, or libarchive's base64 ones. */
function xattrsOf(pax: ReadonlyMap<string, string>, offset: number): [string, Uint8Array][] {
  const found = new Map<string, Uint8Array>();
  for (const [key, value] of pax) {
    if (key.startsWith('LIBARCHIVE.xattr.')) {
      const name = decodeUrl(key.slice(17));
      if (!found.has(name)) found.set(name, base64(value, offset));
    } else if (key.startsWith('SCHILY.xattr.')) found.set(key.slice(13), latin1Bytes(value));
  }
  return [...found];
}

function decodeUrl(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

function base64(text: string, offset: number): Uint8Array {
  const digits = text.replace(/=+$/, '');
  const bytes = new Uint8Array(Math.floor((digits.length * 3) / 4));
  let bits = 0;
  let value = 0;
  let at = 0;
  for (const char of digits) {
    const digit = BASE64.indexOf(char);
    if (digit < 0) throw new LayerfsError('corrupt', `PAX header before byte ${offset}: an xattr is not base64`);
    value = ((value << 6) | digit) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (value >>> bits) & 0xff;
    }
  }
  return bytes;
}
