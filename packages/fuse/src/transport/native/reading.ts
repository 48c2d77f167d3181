import { ErrnoError, errno } from '@layerfs/linux';
import type { Attr } from '../../wire/attr.js';
import { attrOf, countOf, dataOf, direntsOf, openOf, statfsOf, type Dirent } from './answer.js';
import { LARGEST } from './asker.js';
import { bytesOf, textOf } from './names.js';
import { nothing, type Done, type Session } from './session.js';

/** A stat as the binding takes it: times in milliseconds, not before 1970; the inode number is cut to 32 bits. */
function statOf(attr: Attr): object {
  return {
    mode: attr.mode,
    uid: attr.uid,
    gid: attr.gid,
    size: attr.size,
    nlink: attr.nlink,
    ino: attr.ino,
    rdev: attr.rdev,
    blksize: attr.blksize,
    blocks: attr.blocks,
    atime: millis(attr.atimeSec, attr.atimeNsec),
    mtime: millis(attr.mtimeSec, attr.mtimeNsec),
    ctime: millis(attr.ctimeSec, attr.ctimeNsec),
  };
}

function millis(sec: number, nsec: number): number {
  return Math.max(0, sec * 1000 + Math.floor(nsec / 1e6));
}

/** The binding's statvfs has 32 bits for each number. */
const FIGURE_LIMIT = 2 ** 32;

/** Operations that change nothing, as the binding calls them. */
export function readingOperations(session: Session) {
  const { asker, nodes } = session;

  const attributes = (nodeid: number, fh?: number): Promise<Attr> =>
    asker.ask('getattr', nodeid, (fs, caller, reply) => fs.getattr(caller, fh, reply), attrOf);

  const list = async (nodeid: number): Promise<Dirent[]> => {
    let fh: number | undefined;
    try {
      fh = await asker.ask('opendir', nodeid, (fs, caller, reply) => fs.opendir(caller, 0, reply), openOf);
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.errno !== errno.ENOSYS) throw error;
    }
    try {
      const all: Dirent[] = [];
      for (let offset = 0; ;) {
        const some = await asker.ask(
          'readdir',
          nodeid,
          (fs, caller, reply) => fs.readdir(caller, fh ?? 0, offset, LARGEST, reply),
          direntsOf,
        );
        const last = some.at(-1);
        if (last === undefined) return all;
        for (const dirent of some) all.push(dirent);
        offset = last.next;
      }
    } finally {
      if (fh !== undefined && asker.has('releasedir')) {
        await asker.ask('releasedir', nodeid, (fs, caller, reply) => fs.releasedir(caller, fh, 0, reply), nothing);
      }
    }
  };

  return {
    getattr(path: string, done: Done): void {
      session.answer('getattr', done, () =>
        nodes.with(path, async (nodeid, entry) => [statOf(entry?.attr ?? (await attributes(nodeid)))]),
      );
    },

    /** The binding would ask for the path's attributes: this is the open file's. */
    fgetattr(path: string, number: number, done: Done): void {
      session.answer('fgetattr', done, async () => {
        const handle = session.known(number);
        if (handle === undefined) return nodes.with(path, async (nodeid) => [statOf(await attributes(nodeid))]);
        return [statOf(await attributes(handle.nodeid, handle.fh))];
      });
    },

    readlink(path: string, done: Done): void {
      session.answer('readlink', done, () =>
        nodes.with(path, (nodeid) =>
          asker.ask(
            'readlink',
            nodeid,
            (fs, caller, reply) => fs.readlink(caller, reply),
            (answer) => [textOf(dataOf(answer).toString('latin1'))],
          ),
        ),
      );
    },

    readdir(path: string, done: Done): void {
      session.answer('readdir', done, () =>
        nodes.with(path, async (nodeid) => {
          const all = await list(nodeid);
          return [
            all.map(({ name }) => textOf(name)),
            all.map(({ ino, type }) => ({ ino, mode: type << 12, mtime: 0 })),
          ];
        }),
      );
    },

    statfs(_path: string, done: Done): void {
      session.answer('statfs', done, async () => {
        const figures = await asker.ask('statfs', 1, (fs, caller, reply) => fs.statfs(caller, reply), statfsOf);
        // Larger blocks in place of more than can be counted.
        let unit = 1;
        while (figures.blocks / unit >= FIGURE_LIMIT) unit *= 2;
        const blocks = (count: number): number => Math.floor(count / unit);
        const files = (count: number): number => Math.min(count, FIGURE_LIMIT - 1);
        return [
          {
            bsize: figures.bsize * unit,
            frsize: figures.bsize * unit,
            blocks: blocks(figures.blocks),
            bfree: blocks(figures.bfree),
            bavail: blocks(figures.bavail),
            files: files(figures.files),
            ffree: files(figures.ffree),
            favail: files(figures.ffree),
            namemax: figures.namelen,
          },
        ];
      });
    },

    open(path: string, flags: number, done: Done): void {
      session.answer('open', done, async () => {
        try {
          return await nodes.with(path, async (nodeid) => [await session.open(nodeid, flags)]);
        } catch (error) {
          // The name has another inode by now: the kernel would look it up again.
          if (!(error instanceof ErrnoError) || error.errno !== errno.ESTALE) throw error;
          return nodes.with(path, async (nodeid) => [await session.open(nodeid, flags)]);
        }
      });
    },

    read(_path: string, number: number, buffer: Buffer, length: number, offset: number, done: Done): void {
      session.count('read', done, async () => {
        const { nodeid, fh } = session.handle(number);
        const size = Math.min(length, LARGEST);
        return asker.ask(
          'read',
          nodeid,
          (fs, caller, reply) => fs.read(caller, fh, offset, size, reply),
          (answer) => ({ count: dataOf(answer).copy(buffer) }),
        );
      });
    },

    release(_path: string, number: number, done: Done): void {
      session.answer('release', done, async () => {
        await session.release(number);
        return [];
      });
    },

    /** Both forms: without a buffer, how long the value is. One too small gets ERANGE. */
    getxattr(path: string, name: string, buffer: Buffer, done: Done): void {
      session.count('getxattr', done, () =>
        nodes.with(path, (nodeid) =>
          asker.ask(
            'getxattr',
            nodeid,
            (fs, caller, reply) => fs.getxattr(caller, bytesOf(name), buffer.length, reply),
            (answer) => ({ count: buffer.length === 0 ? countOf(answer) : dataOf(answer).copy(buffer) }),
          ),
        ),
      );
    },

    listxattr(path: string, buffer: Buffer, done: Done): void {
      session.count('listxattr', done, () =>
        nodes.with(path, (nodeid) =>
          asker.ask(
            'listxattr',
            nodeid,
            (fs, caller, reply) => fs.listxattr(caller, buffer.length, reply),
            (answer) => ({ count: buffer.length === 0 ? countOf(answer) : dataOf(answer).copy(buffer) }),
          ),
        ),
      );
    },
  };
}
