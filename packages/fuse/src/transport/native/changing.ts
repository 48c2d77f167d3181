import { FATTR } from '../../wire/constants.js';
import type { SetAttr } from '../../filesystem.js';
import { attrOf, countOf, createOf, entryOf, type Entry } from './answer.js';
import type { Asker } from './asker.js';
import { bytesOf } from './names.js';
import { checkNew, nothing, type Done, type Session } from './session.js';

const O_RDWR = 2;
/** chown(2)'s "leave it". */
const NOBODY = 0xffffffff;
const UNCHANGED: SetAttr = {
  valid: 0,
  fh: 0,
  size: 0,
  atimeSec: 0,
  atimeNsec: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  mode: 0,
  uid: 0,
  gid: 0,
};

type Question = Parameters<Asker['ask']>[2];
type Maker = 'mknod' | 'mkdir' | 'symlink' | 'link';

/** Operations that change something, as the binding calls them. */
export function changingOperations(session: Session) {
  const { asker, nodes } = session;

  const setattr = (nodeid: number, changes: Partial<SetAttr>): Promise<readonly unknown[]> => {
    const all = { ...UNCHANGED, ...changes };
    return asker.ask(
      'setattr',
      nodeid,
      (fs, caller, reply) => fs.setattr(caller, all, reply),
      (answer) => {
        attrOf(answer);
        return [];
      },
    );
  };
  const setattrAt = (path: string, done: Done, changes: Partial<SetAttr>): void =>
    session.answer('setattr', done, () => nodes.with(path, (nodeid) => setattr(nodeid, changes)));

  /** Makes a name; the new inode is let go at once, libfuse asks for it when it wants it. */
  const makeAt = (method: Maker, path: string, question: (name: string) => Question): Promise<readonly unknown[]> =>
    nodes.within(path, async ({ folder, name }) => {
      checkNew(path);
      const { nodeid } = await asker.ask(method, folder, question(name), (answer): Entry => {
        const entry = entryOf(answer);
        nodes.looked(entry.nodeid);
        return entry;
      });
      nodes.letGo(nodeid);
      return [];
    });
  const make = (method: Maker, path: string, done: Done, question: (name: string) => Question): void =>
    session.answer(method, done, () => makeAt(method, path, question));

  const remove = (method: 'unlink' | 'rmdir', path: string, done: Done): void =>
    session.answer(method, done, () =>
      nodes.within(path, async ({ folder, name }) => {
        // Before: what is removed is not to be held by us.
        if (method === 'rmdir') nodes.clear();
        return asker.ask(method, folder, (fs, caller, reply) => fs[method](caller, name, reply), nothing);
      }),
    );

  return {
    create(path: string, mode: number, done: Done): void {
      session.answer('create', done, () =>
        nodes.within(path, async ({ folder, name }) => {
          checkNew(path);
          // The binding does not pass the flags on: open for both, of which the kernel lets the caller use what it asked for.
          const { nodeid, fh } = await asker.ask(
            'create',
            folder,
            (fs, caller, reply) => fs.create(caller, name, O_RDWR, mode, 0, reply),
            (answer) => {
              const made = createOf(answer);
              nodes.looked(made.nodeid);
              return made;
            },
          );
          return [session.keep({ nodeid, fh, opened: true })];
        }),
      );
    },

    mknod(path: string, mode: number, device: number, done: Done): void {
      make('mknod', path, done, (name) => (fs, caller, reply) => fs.mknod(caller, name, mode, device, 0, reply));
    },

    mkdir(path: string, mode: number, done: Done): void {
      make('mkdir', path, done, (name) => (fs, caller, reply) => fs.mkdir(caller, name, mode, 0, reply));
    },

    symlink(target: string, path: string, done: Done): void {
      make('symlink', path, done, (name) => (fs, caller, reply) => {
        checkNew(target);
        fs.symlink(caller, name, bytesOf(target), reply);
      });
    },

    link(from: string, path: string, done: Done): void {
      session.answer('link', done, () =>
        nodes.with(from, (nodeid) =>
          makeAt('link', path, (name) => (fs, caller, reply) => fs.link(caller, nodeid, name, reply)),
        ),
      );
    },

    unlink(path: string, done: Done): void {
      remove('unlink', path, done);
    },

    rmdir(path: string, done: Done): void {
      remove('rmdir', path, done);
    },

    rename(from: string, to: string, done: Done): void {
      session.answer('rename', done, () =>
        nodes.within(from, (old) =>
          nodes.within(to, async ({ folder, name }) => {
            checkNew(to);
            nodes.clear();
            return asker.ask(
              'rename',
              old.folder,
              (fs, caller, reply) => fs.rename(caller, old.name, folder, name, 0, reply),
              nothing,
            );
          }),
        ),
      );
    },

    chmod(path: string, mode: number, done: Done): void {
      setattrAt(path, done, { valid: FATTR.MODE, mode });
    },

    chown(path: string, uid: number, gid: number, done: Done): void {
      const valid = (uid === NOBODY ? 0 : FATTR.UID) | (gid === NOBODY ? 0 : FATTR.GID);
      setattrAt(path, done, { valid, uid, gid });
    },

    truncate(path: string, size: number, done: Done): void {
      setattrAt(path, done, { valid: FATTR.SIZE, size });
    },

    ftruncate(path: string, number: number, size: number, done: Done): void {
      const handle = session.known(number);
      if (handle === undefined) return setattrAt(path, done, { valid: FATTR.SIZE, size });
      const changes = { valid: FATTR.SIZE | FATTR.FH, size, fh: handle.fh };
      session.answer('setattr', done, () => setattr(handle.nodeid, changes));
    },

    /** Milliseconds since 1970. */
    utimens(path: string, atime: number, mtime: number, done: Done): void {
      const [atimeSec, mtimeSec] = [Math.floor(atime / 1000), Math.floor(mtime / 1000)];
      setattrAt(path, done, {
        valid: FATTR.ATIME | FATTR.MTIME,
        atimeSec,
        mtimeSec,
        atimeNsec: (atime - atimeSec * 1000) * 1e6,
        mtimeNsec: (mtime - mtimeSec * 1000) * 1e6,
      });
    },

    write(_path: string, number: number, buffer: Buffer, length: number, offset: number, done: Done): void {
      session.count('write', done, async () => {
        const { nodeid, fh } = session.handle(number);
        const data = buffer.subarray(0, length);
        return asker.ask(
          'write',
          nodeid,
          (fs, caller, reply) => fs.write(caller, fh, offset, data, 0, reply),
          (answer) => ({ count: countOf(answer) }),
        );
      });
    },

    fsync(_path: string, dataOnly: number, number: number, done: Done): void {
      session.answer('fsync', done, () => {
        const { nodeid, fh } = session.handle(number);
        return asker.ask('fsync', nodeid, (fs, caller, reply) => fs.fsync(caller, fh, dataOnly !== 0, reply), nothing);
      });
    },

    fsyncdir(path: string, dataOnly: number, _number: number, done: Done): void {
      session.answer('fsyncdir', done, () =>
        nodes.with(path, (nodeid) =>
          asker.ask('fsyncdir', nodeid, (fs, caller, reply) => fs.fsyncdir(caller, 0, dataOnly !== 0, reply), nothing),
        ),
      );
    },

    setxattr(path: string, name: string, value: Buffer, _position: number, flags: number, done: Done): void {
      session.answer('setxattr', done, () =>
        nodes.with(path, (nodeid) =>
          asker.ask(
            'setxattr',
            nodeid,
            (fs, caller, reply) => fs.setxattr(caller, bytesOf(name), value, flags, false, reply),
            nothing,
          ),
        ),
      );
    },

    removexattr(path: string, name: string, done: Done): void {
      session.answer('removexattr', done, () =>
        nodes.with(path, (nodeid) =>
          asker.ask(
            'removexattr',
            nodeid,
            (fs, caller, reply) => fs.removexattr(caller, bytesOf(name), reply),
            nothing,
          ),
        ),
      );
    },
  };
}
