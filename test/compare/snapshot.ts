/** Everything that can be seen of a folder tree, read without any code of layerfs. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type BigIntStats,
} from 'node:fs';

/** One path. Names, targets and xattr names are latin1 strings, one char a byte. */
export interface Seen {
  type: string;
  /** Permission bits, octal. */
  mode: string;
  owner: string;
  /** Not for folders: their size is the filesystem's affair. */
  size?: string;
  /** Nanoseconds since 1970. */
  mtime: string;
  target?: string;
  /** Not for folders: how many names. */
  nlink?: string;
  /** All names of the same inode within the tree, when there are several. */
  group?: string;
  rdev?: string;
  /** `name=hex` sorted, one a line. */
  xattrs?: string;
  /** sha256 of a regular file. */
  content?: string;
}

export type Snapshot = Map<string, Seen>;

export interface SnapshotOptions {
  /** Read every file (default) or leave content out. */
  content?: boolean;
  /** Read extended attributes (default); needs `getfattr`. */
  xattrs?: boolean;
}

const TYPES: [name: string, bits: number][] = [
  ['file', 0o100000],
  ['folder', 0o040000],
  ['symlink', 0o120000],
  ['character device', 0o020000],
  ['block device', 0o060000],
  ['fifo', 0o010000],
  ['socket', 0o140000],
];

function typeOf(stats: BigIntStats): string {
  const bits = Number(stats.mode) & 0o170000;
  return TYPES.find(([, value]) => value === bits)?.[0] ?? `type ${bits.toString(8)}`;
}

const buffer = Buffer.alloc(1 << 20);

function contentOf(path: Buffer): string {
  const hash = createHash('sha256');
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    for (;;) {
      const got = readSync(fd, buffer);
      if (got === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, got));
    }
  } finally {
    closeSync(fd);
  }
}

function see(path: Buffer, stats: BigIntStats, content: boolean): Seen {
  const type = typeOf(stats);
  const seen: Seen = {
    type,
    mode: (Number(stats.mode) & 0o7777).toString(8).padStart(4, '0'),
    owner: `${stats.uid}:${stats.gid}`,
    mtime: String(stats.mtimeNs),
  };
  if (type === 'folder') return seen;
  seen.size = String(stats.size);
  seen.nlink = String(stats.nlink);
  if (type === 'symlink') seen.target = readlinkSync(path, 'buffer').toString('latin1');
  else if (type.endsWith('device')) seen.rdev = `0x${stats.rdev.toString(16)}`;
  else if (type === 'file' && content) seen.content = contentOf(path);
  return seen;
}

/** getfattr writes bytes that would break its lines as backslash and three octal digits. */
function unquote(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}

/** The extended attributes of every path below `root`, by one run of getfattr. */
async function readXattrs(root: string): Promise<Map<string, string>> {
  const output = await new Promise<string>((resolve, reject) => {
    const args = ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '--absolute-names', '.'];
    execFile('getfattr', args, { cwd: root, encoding: 'latin1', maxBuffer: 1 << 30 }, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`getfattr in ${root}: ${error.message} ${stderr.slice(0, 500)}`));
      else resolve(stdout);
    });
  });
  const found = new Map<string, string>();
  for (const block of output.split('\n\n')) {
    const [first, ...lines] = block.split('\n');
    if (first === undefined || !first.startsWith('# file: ')) continue;
    const path = unquote(first.slice(8)).replace(/^\.\/?/, '');
    found.set(
      path,
      lines
        .filter((line) => line !== '')
        .map(unquote)
        .toSorted()
        .join('\n'),
    );
  }
  return found;
}

/** All paths below `root`; the root itself is the empty path. */
export async function snapshot(root: string, options: SnapshotOptions = {}): Promise<Snapshot> {
  const seen: Snapshot = new Map();
  const groups = new Map<bigint, string[]>();
  const visit = (path: Buffer, relative: string): void => {
    const stats = lstatSync(path, { bigint: true });
    seen.set(relative, see(path, stats, options.content !== false));
    if (!stats.isDirectory()) {
      if (stats.nlink > 1n) groups.set(stats.ino, [...(groups.get(stats.ino) ?? []), relative]);
      return;
    }
    for (const name of readdirSync(path, 'buffer')) {
      const below = name.toString('latin1');
      visit(Buffer.concat([path, Buffer.from('/'), name]), relative === '' ? below : `${relative}/${below}`);
    }
  };
  visit(Buffer.from(root), '');
  for (const names of groups.values()) {
    const group = names.toSorted().join(' = ');
    for (const name of names) seen.get(name)!.group = group;
  }
  if (options.xattrs !== false) {
    for (const [path, xattrs] of await readXattrs(root)) {
      const entry = seen.get(path);
      if (entry === undefined) throw new Error(`getfattr named a path that was not seen: ${JSON.stringify(path)}`);
      entry.xattrs = xattrs;
    }
  }
  return seen;
}
