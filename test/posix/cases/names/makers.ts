import * as sys from '../../harness/calls.js';

/** A call that makes a new name. `source` is a file that is there, for link. */
export interface Maker {
  readonly what: string;
  readonly type: number;
  readonly make: (path: string, mode: number) => void;
  /** The mode is the caller's choice. */
  readonly hasMode: boolean;
  readonly root: boolean;
}

const { S } = sys;

export const MAKERS: readonly Maker[] = [
  {
    what: 'open',
    type: S.REG,
    make: (path, mode) => sys.close(sys.open(path, sys.O.CREAT | sys.O.EXCL | sys.O.WRONLY, mode)),
    hasMode: true,
    root: false,
  },
  { what: 'mkdir', type: S.DIR, make: sys.mkdir, hasMode: true, root: false },
  { what: 'mkfifo', type: S.FIFO, make: sys.mkfifo, hasMode: true, root: false },
  {
    what: 'mknod of a file',
    type: S.REG,
    make: (path, mode) => sys.mknod(path, S.REG | mode),
    hasMode: true,
    root: false,
  },
  {
    what: 'mknod of a socket',
    type: S.SOCK,
    make: (path, mode) => sys.mknod(path, S.SOCK | mode),
    hasMode: true,
    root: false,
  },
  {
    what: 'mknod of a character device',
    type: S.CHR,
    make: (path, mode) => sys.mknod(path, S.CHR | mode, 0x102),
    hasMode: true,
    root: true,
  },
  {
    what: 'mknod of a block device',
    type: S.BLK,
    make: (path, mode) => sys.mknod(path, S.BLK | mode, 0x102),
    hasMode: true,
    root: true,
  },
  { what: 'symlink', type: S.LNK, make: (path) => sys.symlink('target', path), hasMode: false, root: false },
];
