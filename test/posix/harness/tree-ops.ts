/** Random calls on a small tree, each of which tells what it did as a text that can be compared. */
import { errnoCode, ErrnoError } from '@layerfs/linux';
import * as sys from './calls.js';
import * as content from './content.js';
import { Random } from './random.js';
import * as xattrs from './xattrs.js';

/** A call on the current folder. `slots` are descriptors that stay open. */
export interface Operation {
  readonly what: string;
  readonly run: (slots: (number | undefined)[]) => unknown;
}

const { O } = sys;
const NAMES = ['a', 'b', 'c', 'd'];

/** `a` and `b` begin as folders, and are mostly taken for that. */
function randomPath(random: Random): string {
  const parents = Array.from({ length: random.below(3) }, () => random.pick(['a', 'b', 'a', 'b', 'c']));
  return [...parents, random.pick(NAMES)].join('/');
}

type Make = (random: Random, path: string) => Operation;

const NAMESPACE: readonly Make[] = [
  (r, p) => {
    const text = r.text(1 + r.below(30));
    const flags = O.WRONLY | O.CREAT | O.NONBLOCK | r.pick([0, O.EXCL, O.TRUNC, O.APPEND]);
    const mode = r.pick([0o644, 0o600, 0o755]);
    return {
      what: `create ${p} ${flags.toString(8)} ${text}`,
      run: () => sys.withFd(p, flags, (fd) => content.write(fd, text), mode),
    };
  },
  (_, p) => ({ what: `mkdir ${p}`, run: () => sys.mkdir(p, 0o750) }),
  (_, p) => ({ what: `mkdir ${p}`, run: () => sys.mkdir(p, 0o755) }),
  (_, p) => ({ what: `rmdir ${p}`, run: () => sys.rmdir(p) }),
  (_, p) => ({ what: `unlink ${p}`, run: () => sys.unlink(p) }),
  (r, p) => {
    const to = randomPath(r);
    const flags = r.pick([0, 0, 0, 1, 2]);
    return { what: `rename ${p} ${to} ${String(flags)}`, run: () => sys.rename(p, to, flags) };
  },
  (r, p) => {
    const to = randomPath(r);
    const flags = r.pick([0, 0, 2]);
    return { what: `rename ${p} ${to} ${String(flags)}`, run: () => sys.rename(p, to, flags) };
  },
  (r, p) => {
    const to = randomPath(r);
    return { what: `link ${p} ${to}`, run: () => sys.link(p, to) };
  },
  (r, p) => {
    const target = r.pick(['../', '']) + randomPath(r);
    return { what: `symlink ${target} ${p}`, run: () => sys.symlink(target, p) };
  },
  (_, p) => ({ what: `mkfifo ${p}`, run: () => sys.mkfifo(p) }),
  (_, p) => ({ what: `readdir ${p}`, run: () => sys.names(p).join(' ') }),
  (_, p) => ({ what: `readlink ${p}`, run: () => sys.readlink(p) }),
];

const ATTRIBUTES: readonly Make[] = [
  (r, p) => {
    const mode = r.pick([0o600, 0o644, 0o755, 0o4711, 0o2770]);
    return { what: `chmod ${p} ${mode.toString(8)}`, run: () => sys.chmod(p, mode) };
  },
  (r, p) => {
    const id = r.below(5);
    return { what: `lchown ${p} ${String(id)}`, run: () => sys.lchown(p, id, -1) };
  },
  (r, p) => {
    const time = BigInt(r.below(1_000_000_000));
    return {
      what: `utimens ${p} ${String(time)}`,
      run: () => {
        sys.utimens(p, time, time + 1n, 0x100);
        return sys.lstat(p).mtime;
      },
    };
  },
  (r, p) => {
    const name = `user.${r.pick(NAMES)}`;
    const value = r.text(r.below(20));
    const flags = r.pick([0, 0, 1, 2]);
    return {
      what: `setxattr ${p} ${name} ${value} ${String(flags)}`,
      run: () => xattrs.setxattr(p, name, value, flags),
    };
  },
  (r, p) => {
    const name = `user.${r.pick(NAMES)}`;
    return { what: `removexattr ${p} ${name}`, run: () => xattrs.removexattr(p, name) };
  },
];

const CONTENT: readonly Make[] = [
  (r, p) => {
    const text = r.text(1 + r.below(30));
    const at = r.below(60);
    return {
      what: `write ${p} ${text} at ${String(at)}`,
      run: () => sys.withFd(p, O.WRONLY | O.NONBLOCK, (fd) => content.pwrite(fd, text, at)),
    };
  },
  (r, p) => {
    const size = r.below(100);
    return { what: `truncate ${p} ${String(size)}`, run: () => content.truncate(p, size) };
  },
  (_, p) => ({ what: `read ${p}`, run: () => sys.withFd(p, O.RDONLY | O.NONBLOCK, (fd) => content.read(fd, 1000)) }),
];

/** On a descriptor that was opened earlier, whatever became of its name since. */
const DESCRIPTORS: readonly ((random: Random, slot: number) => (fd: number) => unknown)[] = [
  (r) => {
    const text = r.text(1 + r.below(30));
    const at = r.below(60);
    return (fd) => content.pwrite(fd, text, at);
  },
  () => (fd) => content.pread(fd, 1000, 0),
  (r) => {
    const size = r.below(100);
    return (fd) => content.ftruncate(fd, size);
  },
  () => (fd) => {
    const s = sys.fstat(fd);
    return [s.type, s.perm, s.uid, s.type === sys.S.DIR ? 0 : s.size].join(' ');
  },
  (r) => {
    const mode = r.pick([0o600, 0o640, 0o755]);
    return (fd) => sys.fchmod(fd, mode);
  },
];

const SLOTS = 4;

function descriptorOperation(random: Random, path: string): Operation {
  const slot = random.below(SLOTS);
  if (random.below(3) === 0) {
    const flags = random.pick([O.RDONLY, O.RDWR, O.RDWR, O.RDWR | O.CREAT]) | O.NONBLOCK;
    return {
      what: `open ${path} ${flags.toString(8)} as ${String(slot)}`,
      run: (slots) => {
        const old = slots[slot];
        slots[slot] = undefined;
        if (old !== undefined) sys.close(old);
        slots[slot] = sys.open(path, flags, 0o644);
      },
    };
  }
  const index = random.below(DESCRIPTORS.length);
  const call = DESCRIPTORS[index](random, slot);
  return {
    what: `call ${String(index)} on ${String(slot)}`,
    run: (slots) => {
      const fd = slots[slot];
      return fd === undefined ? 'not open' : call(fd);
    },
  };
}

/** A random operation; `descriptors`: also on files that stay open. */
export function randomOperation(random: Random, descriptors: boolean): Operation {
  const path = randomPath(random);
  const dice = random.below(descriptors ? 14 : 10);
  if (dice >= 10) return descriptorOperation(random, path);
  return random.pick(dice < 6 ? NAMESPACE : dice < 8 ? ATTRIBUTES : CONTENT)(random, path);
}

/** What an operation gave, as text: its result, or the name of its errno. */
export function resultOf(operation: Operation, slots: (number | undefined)[]): string {
  try {
    return String(operation.run(slots));
  } catch (error) {
    if (error instanceof ErrnoError) return errnoCode(error.errno);
    throw error;
  }
}

/** All of the tree below the current folder, a line a name. */
export function describeTree(folder = '.', firstNames = new Map<number, string>()): string[] {
  return sys.names(folder).flatMap((name) => {
    const path = `${folder}/${name}`;
    const s = sys.lstat(path);
    const isFolder = s.type === sys.S.DIR;
    // Which names are one file, by the first of them: inode numbers differ from tree to tree.
    const first = firstNames.get(s.ino) ?? path;
    firstNames.set(s.ino, first);
    const line = [path, s.type.toString(8), s.perm.toString(8), s.uid, isFolder ? '' : `${String(s.nlink)} ${first}`];
    if (s.type === sys.S.REG) line.push(JSON.stringify(content.readFile(path)));
    if (s.type === sys.S.LNK) line.push(sys.readlink(path));
    else {
      const names = xattrs.llistxattr(path).filter((name) => name.startsWith('user.'));
      line.push(names.map((name) => `${name}=${xattrs.lgetxattr(path, name)}`).join(' '));
    }
    return [line.join(' '), ...(isFolder ? describeTree(path, firstNames) : [])];
  });
}
