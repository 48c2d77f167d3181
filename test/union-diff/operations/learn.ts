/** What a sequence learns from operations that succeeded. */
import { OPEN, type Action } from './operation.js';
import type { World } from './world.js';

type Lessons = { readonly [K in Action['kind']]?: (world: World, operation: Extract<Action, { kind: K }>) => void };

const isTemporary = (flags: number): boolean => (flags & OPEN['O_TMPFILE']) === OPEN['O_TMPFILE'];

function created(world: World, path: string, flags: number): void {
  const creates = (flags & OPEN['O_CREAT']) !== 0 && !isTemporary(flags);
  if (creates && world.type(path) === undefined) world.add(path, 'f');
}

function held(world: World, slot: number, path: string, flags: number): void {
  const isFolder = (flags & OPEN['O_DIRECTORY']) !== 0 || world.type(path) === 'd' || path === '';
  const temporary = isTemporary(flags);
  world.hold(slot, { type: isFolder && !temporary ? 'folder' : 'file', path, temporary });
}

const LESSONS: Lessons = {
  open(world, { slot, path, flags }) {
    held(world, slot, path, flags);
    created(world, path, flags);
  },
  openat: (world, { slot, flags }) => {
    const isFolder = (flags & OPEN['O_DIRECTORY']) !== 0;
    world.hold(slot, { type: isFolder ? 'folder' : 'file', path: undefined, temporary: false });
  },
  close: (world, { slot }) => world.release(slot),
  linkfd: (world, { path }) => world.add(path, 'f'),
  writefile: (world, { path, flags }) => created(world, path, flags),
  mkdir: (world, { path }) => world.add(path, 'd'),
  mknod: (world, { path, mode }) => world.add(path, (mode & 0o170000) === 0o010000 ? 'p' : 'c'),
  symlink: (world, { path }) => world.add(path, 'l'),
  link: (world, { from, to }) => world.add(to, world.type(from) ?? 'f'),
  unlink: (world, { path }) => world.remove(path),
  rmdir: (world, { path }) => world.remove(path),
  rmtree: (world, { path }) => {
    for (const [inside] of world.contents(path)) world.remove(inside);
  },
  rename(world, { from, to, flags }) {
    if (from === to) return;
    if (flags === 2) world.exchange(from, to);
    else world.move(from, to);
  },
  setxattr: (world, { target, name }) => world.noteXattr(target, name),
};

export function learn(world: World, operation: Action): void {
  const lesson = LESSONS[operation.kind] as ((world: World, operation: Action) => void) | undefined;
  lesson?.(world, operation);
}
