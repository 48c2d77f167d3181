/** What is compared of a file, as text: all that must be the same on two filesystems, and nothing else. */
import type { Statx } from '@layerfs/linux';
import xxhash from 'xxhash-wasm';
import { RECENT } from '../lower/entries.js';

const hasher = await xxhash();

const FOLDER = 0o040000;
const REGULAR = 0o100000;
const SYMLINK = 0o120000;
const TYPE = 0o170000;

const LETTERS: Readonly<Record<number, string>> = {
  [FOLDER]: 'd',
  [REGULAR]: 'f',
  [SYMLINK]: 'l',
  0o010000: 'p',
  0o020000: 'c',
  0o060000: 'b',
  0o140000: 's',
};

/** One letter for the type in st_mode. */
export function typeLetter(mode: number): string {
  return LETTERS[mode & TYPE] ?? '?';
}

/** Short data as it is, long data as length and hash. */
export function describeBytes(data: Uint8Array): string {
  if (data.length <= 24) return `${String(data.length)}:${Buffer.from(data).toString('hex')}`;
  return `${String(data.length)}:#${hasher.h64Raw(data).toString(16)}`;
}

/** A time that somebody set is shown; one that the kernel took from its clock is only known to be recent. */
export function describeMtime(stat: Pick<Statx, 'mtimeSec' | 'mtimeNsec'>): string {
  return stat.mtimeSec >= RECENT ? 'recent' : `${String(stat.mtimeSec)}.${String(stat.mtimeNsec)}`;
}

/** Not the inode number, blocks, atime and ctime; of folders not the size and the link count. */
export function describeStat(stat: Statx): string {
  const type = stat.mode & TYPE;
  const fields = [
    typeLetter(stat.mode),
    `mode=0${(stat.mode & 0o7777).toString(8)}`,
    `owner=${String(stat.uid)}:${String(stat.gid)}`,
    `mtime=${describeMtime(stat)}`,
  ];
  if (type !== FOLDER) fields.push(`nlink=${String(stat.nlink)}`);
  if (type === REGULAR || type === SYMLINK) fields.push(`size=${String(stat.size)}`);
  if (type === 0o020000 || type === 0o060000) fields.push(`rdev=${String(stat.rdevMajor)}:${String(stat.rdevMinor)}`);
  return fields.join(' ');
}

/** Name and type of an entry of a folder: `d:"name"`. */
export function describeDirent([type, name]: readonly [type: number, name: string]): string {
  return `${typeLetter(type << 12)}:${JSON.stringify(name)}`;
}
