/**
 * What layerfs serves, to a kernel's side that offers each protocol level since 7.19, all of it and nothing of it: the image and the
 * writable union must look the same, and changes must come to the same upper folder. packages/fuse/src/levels.test.ts has the bytes.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INIT } from '@layerfs/fuse';
import { errno } from '@layerfs/linux';
import { FakeKernel, offeredAt, struct } from '../packages/fuse/dist/fake-kernel.test-support.js';
import { FATTR, OPCODE } from '../packages/fuse/dist/wire/constants.js';
import { chooseContent, openObjects, type OpenedObjects } from '../packages/layerfs/dist/mount/server/passthrough.js';
import { openUnion, type Root } from '../packages/layerfs/dist/mount/server/union-root.js';
import { TreeFileSystem } from '../packages/layerfs/dist/mount/filesystem/tree-filesystem.js';
import { Tree } from '../packages/layerfs/dist/core/tree/tree.js';
import { missing } from './support/needs.js';
import { TreeSource } from './support/tree-source.js';

const LEVELS = Array.from({ length: 45 - 19 + 1 }, (_, i) => 19 + i);
const OFFERS: [string, (minor: number) => number[]][] = [
  ['all that its level has', offeredAt],
  ['nothing', () => []],
];
const LONG = 'long '.repeat(2000);
const [O_WRONLY, O_RDWR, O_TRUNC] = [1, 2, 0o1000];
const S_IFMT = 0o170000;

const text = (...names: string[]): Buffer => Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1');

/** A kernel's side that asks for what programs do, in the ways that were agreed on. */
class Kernel extends FakeKernel {
  readonly #minor: number;
  readonly #agreed: ReadonlySet<number>;
  readonly #offered: ReadonlySet<number>;

  constructor(root: Root, minor: number, offered: readonly number[]) {
    super(root.fs);
    this.#minor = minor;
    this.#offered = new Set(offered);
    this.init(7, minor, offered);
    this.#agreed = this.connection.negotiated?.capabilities ?? new Set();
    root.serve(this.connection);
  }

  /** Asks for what must succeed. */
  get(opcode: number, nodeid: number, ...body: readonly Uint8Array[]): Buffer {
    const answer = this.ask(opcode, nodeid, ...body);
    if (typeof answer === 'number') throw new Error(`opcode ${opcode} of ${nodeid}: errno ${-answer}`);
    return answer;
  }

  /** The nodeid of a path, and its attributes. */
  find(path: string): { id: number; mode: number; size: number } {
    let [id, mode, size] = [1, 0o040755, 0];
    for (const name of path.split('/').filter((part) => part !== '')) {
      const entry = this.get(OPCODE.LOOKUP, id, text(name));
      [id, mode, size] = [Number(entry.readBigUInt64LE(0)), entry.readUInt32LE(100), entry.readUInt32LE(48)];
    }
    return { id, mode, size };
  }

  /** Opens by OPEN or OPENDIR. A kernel that has not offered to go on without them fails with what they answer. */
  open(opcode: number, nodeid: number, flags = 0): number | undefined {
    const free = opcode === OPCODE.OPEN ? INIT.NO_OPEN_SUPPORT : INIT.NO_OPENDIR_SUPPORT;
    const opened = this.ask(opcode, nodeid, struct([4, flags], [4, 0]));
    if (opened === -errno.ENOSYS && this.#offered.has(free)) return undefined;
    if (typeof opened === 'number') throw new Error(`open of ${nodeid}: errno ${-opened}`);
    return Number(opened.readBigUInt64LE(0));
  }

  release(opcode: number, nodeid: number, fh: number | undefined): void {
    // Kernels do not look at the answer.
    if (fh !== undefined) this.ask(opcode, nodeid, struct([8, fh], [4, 0], [4, 0], [8, 0]));
  }

  read(path: string): string {
    const { id, size } = this.find(path);
    const fh = this.open(OPCODE.OPEN, id);
    const parts: Buffer[] = [];
    for (let at = 0; at < size; at += 4096) parts.push(this.get(OPCODE.READ, id, reading(fh, at, 4096)));
    this.release(OPCODE.RELEASE, id, fh);
    return Buffer.concat(parts).toString('latin1');
  }

  list(path: string): string[] {
    const { id } = this.find(path);
    const fh = this.open(OPCODE.OPENDIR, id);
    const plus = this.#agreed.has(INIT.DO_READDIRPLUS);
    const names: string[] = [];
    for (let offset = 0; ;) {
      const bytes = this.get(plus ? OPCODE.READDIRPLUS : OPCODE.READDIR, id, reading(fh, offset, 512));
      if (bytes.length === 0) break;
      for (let at = 0; at < bytes.length;) {
        if (plus) at += 128;
        const length = bytes.readUInt32LE(at + 16);
        offset = Number(bytes.readBigUInt64LE(at + 8));
        names.push(bytes.toString('latin1', at + 24, at + 24 + length));
        at += (24 + length + 7) & ~7;
      }
    }
    this.release(OPCODE.RELEASEDIR, id, fh);
    return names.filter((name) => name !== '.' && name !== '..').toSorted();
  }

  /** All that is shown. */
  walk(path = ''): string[] {
    const lines: string[] = [];
    for (const name of this.list(path)) {
      const at = path === '' ? name : `${path}/${name}`;
      const { id, mode, size } = this.find(at);
      const type = mode & S_IFMT;
      const shown =
        type === 0o100000 ? this.read(at) : type === 0o120000 ? this.get(OPCODE.READLINK, id).toString('latin1') : '';
      lines.push(`${mode.toString(8)} ${at} ${type === 0o040000 ? '' : size} ${shown.slice(0, 12)} ${shown.length}`);
      if (type === 0o040000) lines.push(...this.walk(at));
    }
    return lines;
  }

  create(path: string, mode: number): { id: number; fh: number } {
    // Without DONT_MASK the kernel takes the umask off by itself.
    const asked = this.#agreed.has(INIT.DONT_MASK) ? mode : mode & ~0o027;
    const head = struct([4, O_RDWR], [4, 0o100000 | asked], [4, 0o027], [4, 0]);
    const made = this.get(OPCODE.CREATE, this.find(folderOf(path)).id, head, text(nameOf(path)));
    return { id: Number(made.readBigUInt64LE(0)), fh: Number(made.readBigUInt64LE(128)) };
  }

  write(id: number, fh: number, offset: number, data: string, flags = 0): void {
    const head = struct([8, fh], [8, offset], [4, data.length], [4, flags], [8, 0], [4, O_RDWR], [4, 0]);
    const written = this.get(OPCODE.WRITE, id, head, Buffer.from(data)).readUInt32LE(0);
    if (written !== data.length) throw new Error(`${written} of ${data.length} bytes were written`);
  }

  setattr(id: number, valid: number, { size = 0, mode = 0 }): void {
    const head = struct([4, valid], [4, 0], [8, 0], [8, size], [8, 0], [8, 0], [8, 0], [8, 0]);
    this.get(OPCODE.SETATTR, id, head, struct([4, 0], [4, 0], [4, 0], [4, mode], [4, 0], [4, 0], [4, 0], [4, 0]));
  }

  /** As `echo DATA > PATH`. */
  overwrite(path: string, data: string): void {
    const { id } = this.find(path);
    const atomic = this.#agreed.has(INIT.ATOMIC_O_TRUNC);
    const fh = this.open(OPCODE.OPEN, id, O_WRONLY | (atomic ? O_TRUNC : 0));
    if (!atomic) this.setattr(id, FATTR.SIZE, { size: 0 });
    this.write(id, fh ?? 0, 0, data);
    this.release(OPCODE.RELEASE, id, fh);
  }

  /** A write by somebody who may not keep the set-user-ID bit. */
  writeAsOther(path: string, data: string): void {
    const { id, mode } = this.find(path);
    const fh = this.open(OPCODE.OPEN, id, O_WRONLY);
    const kills = this.#agreed.has(INIT.HANDLE_KILLPRIV_V2);
    if (!kills) this.setattr(id, FATTR.MODE, { mode: mode & ~0o6000 });
    this.write(id, fh ?? 0, 0, data, kills ? 4 : 0);
    this.release(OPCODE.RELEASE, id, fh);
  }

  rename(from: string, to: string): void {
    const [parent, target] = [this.find(folderOf(from)).id, this.find(folderOf(to)).id];
    const names = text(nameOf(from), nameOf(to));
    if (this.#minor < 23) this.get(OPCODE.RENAME, parent, struct([8, target]), names);
    else this.get(OPCODE.RENAME2, parent, struct([8, target], [4, 1], [4, 0]), names);
  }

  setxattr(path: string, name: string, value: string): void {
    const head = [
      [4, value.length],
      [4, 0],
    ] as const;
    const long = this.#agreed.has(INIT.SETXATTR_EXT)
      ? ([
          [4, 0],
          [4, 0],
        ] as const)
      : [];
    this.get(OPCODE.SETXATTR, this.find(path).id, struct(...head, ...long), text(name), Buffer.from(value));
  }
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
const folderOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));

function reading(fh: number | undefined, offset: number, size: number): Buffer {
  return struct([8, fh ?? 0], [8, offset], [4, size], [4, 0], [8, 0], [4, 0], [4, 0]);
}

const IMAGE = [
  '40755 d   0',
  '100644 d/empty 0  0',
  '120777 d/link 4 long 4',
  `100644 d/long ${LONG.length} long long lo ${LONG.length}`,
  '40755 many   0',
  ...Array.from({ length: 40 }, (_, i) => `100644 many/entry-${10 + i} 2 ${10 + i} 2`),
  '104755 suid 5 hello 5',
];

const reason = missing('root');
if (reason !== undefined) console.warn(`skipped: served to kernels of each level: ${reason}`);

describe.skipIf(reason !== undefined).each(OFFERS)('to a kernel that offers %s', (_, offer) => {
  let source: TreeSource;
  let tree: Tree;
  let kernel: Kernel | undefined;
  beforeAll(async () => {
    source = new TreeSource();
    source
      .add('d', { mode: 0o040755 })
      .add('d/empty', { mode: 0o100644 })
      .add('d/link', { mode: 0o120777, target: 'long' })
      .add('d/long', { mode: 0o100644, content: LONG })
      .add('many', { mode: 0o040755 })
      .add('suid', { mode: 0o104755, content: 'hello' });
    for (let i = 10; i < 50; i++) source.add(`many/entry-${i}`, { mode: 0o100644, content: String(i) });
    await source.finish();
    tree = Tree.open(source.bytes());
  });
  afterAll(() => source.remove());

  /** Plays, and ends both sides. */
  function play(root: Root, minor: number, what: (kernel: Kernel) => void): void {
    kernel = new Kernel(root, minor, offer(minor));
    try {
      what(kernel);
      expect(kernel.errors).toEqual([]);
      kernel.ask(OPCODE.DESTROY, 0);
    } finally {
      kernel.close();
    }
  }

  const objects = (): OpenedObjects => openObjects(source.paths.objects, undefined);
  const noProblem = ({ problem }: { problem: string }): never => {
    throw new Error(problem);
  };

  test.each(LEVELS)('an image, by protocol 7.%i', (minor) => {
    const fs = new TreeFileSystem(tree, { passthrough: true, defaultPermissions: true });
    const root: Root = {
      fs,
      serve(connection) {
        const content = chooseContent(connection, objects(), tree, noProblem);
        fs.serveFrom(content);
        return content;
      },
    };
    play(root, minor, (shown) => {
      expect(shown.walk()).toEqual(IMAGE);
      expect(shown.ask(OPCODE.LOOKUP, 1, text('none'))).toSatisfy((entry: Buffer) => entry.readBigUInt64LE(0) === 0n);
      expect(shown.ask(OPCODE.OPEN, shown.find('suid').id, struct([4, O_WRONLY], [4, 0]))).toBe(-errno.EROFS);
    });
  });

  test.each(LEVELS)('a writable union, by protocol 7.%i', (minor) => {
    const folder = mkdtempSync(join(source.folder, 'snapshot-'));
    const [upper, work] = [join(folder, 'upper'), join(folder, 'work')];
    for (const each of [upper, work]) mkdirSync(each, { mode: 0o755 });
    const union = (): Root => openUnion(tree, objects(), { upper, work, volatile: true }, false, noProblem);
    let after: string[] = [];
    play(union(), minor, (shown) => {
      expect(shown.walk()).toEqual(IMAGE);
      const made = shown.create('d/new', 0o666);
      shown.write(made.id, made.fh, 0, 'new');
      shown.release(OPCODE.RELEASE, made.id, made.fh);
      shown.overwrite('d/long', 'short');
      shown.writeAsOther('suid', 'H');
      shown.setxattr('d/empty', 'user.mark', 'yes');
      shown.rename('many/entry-10', 'd/moved');
      shown.get(OPCODE.UNLINK, shown.find('many').id, text('entry-11'));
      const mask = [
        [4, 0o750],
        [4, 0o027],
      ] as const;
      shown.get(OPCODE.MKDIR, 1, struct(...mask), text('made'));
      shown.get(OPCODE.SYMLINK, 1, text('to', 'made'));
      after = shown.walk();
    });
    const rest = IMAGE.slice(7);
    expect(after).toEqual([
      '40755 d   0',
      '100644 d/empty 0  0',
      '120777 d/link 4 long 4',
      '100644 d/long 5 short 5',
      '100644 d/moved 2 10 2',
      '100640 d/new 3 new 3',
      '40750 made   0',
      '40755 many   0',
      ...rest.filter((line) => line.includes('many/')),
      '100755 suid 5 Hello 5',
      '120777 to 4 made 4',
    ]);
    const script = `cd "$1" && find . -mindepth 1 ! -type d -printf '%M %P %U\\n' | sort -k 2; getfattr --only-values -n user.mark d/empty`;
    expect(execFileSync('sh', ['-c', script, 'sh', upper], { encoding: 'utf8' })).toBe(UPPER);
    // And so it is found again.
    play(union(), minor, (shown) => expect(shown.walk()).toEqual(after));
  });
});

const UPPER = `-rw-r--r-- d/empty 0
-rw-r--r-- d/long 0
-rw-r--r-- d/moved 0
-rw-r----- d/new 1000
c--------- many/entry-10 0
c--------- many/entry-11 0
-rwxr-xr-x suid 0
lrwxrwxrwx to 1000
yes`;
