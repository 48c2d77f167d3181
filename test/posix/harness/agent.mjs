/**
 * Another process: does the calls that it is told, one after the other. JavaScript, so that `peer.ts` can start it as it
 * stands here, without a build.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { check, cPath, native, nativeSyscall } from '../../../packages/linux/dist/library.js';
import { ErrnoError } from '../../../packages/linux/dist/error.js';

const f = {
  open: native('int open(const void *path, int flags, unsigned int mode)'),
  close: native('int close(int fd)'),
  unlink: native('int unlink(const void *path)'),
  mkdir: native('int mkdir(const void *path, unsigned int mode)'),
  rmdir: native('int rmdir(const void *path)'),
  link: native('int link(const void *from, const void *to)'),
  rename: native('int rename(const void *from, const void *to)'),
  pread: native('int64_t pread(int fd, void *buffer, size_t count, int64_t offset)'),
  pwrite: native('int64_t pwrite(int fd, const void *buffer, size_t count, int64_t offset)'),
  write: native('int64_t write(int fd, const void *buffer, size_t count)'),
  flock: native('int flock(int fd, int operation)'),
  fcntl: native('int fcntl(int fd, int command, void *lock)'),
};
const renameat2 = nativeSyscall(
  process.arch === 'arm64' ? 276 : 316,
  'long fromDir, const void *from, long toDir, const void *to, unsigned long flags',
);
const AT_FDCWD = -100;
const RENAME_EXCHANGE = 2;
const O_WRONLY = 1;
const O_CREAT_EXCL = 0o300;
const O_APPEND = 0o2000;

/** Calls on a name that only one of several processes can succeed with. */
const contested = {
  create: (name) => functions.close(functions.open(name, O_WRONLY | O_CREAT_EXCL)),
  link: (name) => check(f.link(cPath('x'), cPath(name)), 'link', name),
  mkdir: (name) => check(f.mkdir(cPath(name), 0o755), 'mkdir', name),
  rename: (name) => check(f.rename(cPath(name), cPath(`${name}.moved`)), 'rename', name),
  rmdir: (name) => check(f.rmdir(cPath(name)), 'rmdir', name),
  unlink: (name) => check(f.unlink(cPath(name)), 'unlink', name),
};

/** Descriptors that are open. */
const open = new Set();

const functions = {
  /** Leaves nothing behind for the next case: with the descriptors all locks go. */
  reset: () => {
    for (const fd of open) functions.close(fd);
    process.chdir('/');
  },
  chdir: (folder) => process.chdir(folder),
  pid: () => process.pid,
  open: (path, flags) => {
    const fd = check(f.open(cPath(path), flags, 0o644), 'open', path);
    open.add(fd);
    return fd;
  },
  close: (fd) => {
    open.delete(fd);
    check(f.close(fd), 'close');
  },
  unlink: (path) => check(f.unlink(cPath(path)), 'unlink', path),
  size: (path) => statSync(path).size,
  pread: (fd, length, offset) => {
    const buffer = Buffer.alloc(length);
    return buffer.toString('latin1', 0, check(f.pread(fd, buffer, length, offset), 'pread'));
  },
  flock: (fd, operation) => check(f.flock(fd, operation), 'flock'),
  /** `lock` is a struct flock. */
  fcntl: (fd, command, lock) => check(f.fcntl(fd, command, lock), 'fcntl'),
  tryEach: (how, names) =>
    names.map((name) => {
      try {
        contested[how](name);
        return 'ok';
      } catch (error) {
        return error.code;
      }
    }),
  replaceOften: (path, times, size) => {
    for (let i = 0; i < times; i++) {
      writeFileSync(`${path}.new`, 'w'.repeat(size));
      check(f.rename(cPath(`${path}.new`), cPath(path)), 'rename', path);
    }
  },
  exchangeOften: (a, b, times) => {
    for (let i = 0; i < times; i++) {
      check(renameat2(AT_FDCWD, cPath(a), AT_FDCWD, cPath(b), RENAME_EXCHANGE), 'renameat2', a);
    }
  },
  /** The sizes that were seen, or errors. */
  readOften: (path, times) => {
    const seen = new Set();
    for (let i = 0; i < times; i++) {
      try {
        seen.add(String(readFileSync(path).length));
      } catch (error) {
        seen.add(error.code);
      }
    }
    return [...seen];
  },
  /** In how many ways the entries that nobody removes (not `a…`) were counted. */
  listOften: (path, times) => {
    const seen = new Set();
    for (let i = 0; i < times; i++) seen.add(readdirSync(path).filter((name) => !name.startsWith('a')).length);
    return [...seen];
  },
  writeByteOfEach: (names, letter, at) => {
    for (const name of names) {
      const fd = functions.open(name, O_WRONLY);
      check(f.pwrite(fd, Buffer.from(letter), 1, at), 'pwrite', name);
      functions.close(fd);
    }
  },
  appendLines: (path, line, times) => {
    const fd = functions.open(path, O_WRONLY | O_APPEND);
    const bytes = Buffer.from(`${line}\n`);
    for (let i = 0; i < times; i++) check(f.write(fd, bytes, bytes.length), 'write');
    functions.close(fd);
  },
  /** `times` blocks of 2000 bytes from `start` on. */
  writeBlocks: (path, letter, start, times) => {
    const fd = functions.open(path, O_WRONLY);
    const bytes = Buffer.alloc(2000, letter);
    for (let i = 0; i < times; i++) check(f.pwrite(fd, bytes, bytes.length, start + i * 2000), 'pwrite');
    functions.close(fd);
  },
};

function reply({ name, args }) {
  try {
    return { value: functions[name](...args) };
  } catch (error) {
    if (error instanceof ErrnoError) return { errno: error.errno };
    return { error: String(error) };
  }
}

process.on('message', (request) => process.send(reply(request)));
