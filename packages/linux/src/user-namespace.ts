import { closeSync, openSync, writeFileSync } from 'node:fs';
import koffi from 'koffi';
import { check, native } from './library.js';

/** A run of ids: `count` of them from `inside` are what others see as those from `outside`. */
export interface IdRun {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

const cloneFunction = native('int clone(uintptr_t start, uintptr_t stack, int flags, uintptr_t argument)');
const waitFunction = native('int waitpid(int pid, void *status, int options)');
const CLONE_NEWUSER = 0x10000000;
const WALL = 0x40000000;
const STACK = 64 * 1024;

/** Where in memory libc's pause(2) begins. */
function addressOfPause(): number | bigint {
  const dlsym = koffi.load(null).func('uintptr_t dlsym(uintptr_t handle, const char *name)');
  return (dlsym as unknown as (handle: number, name: string) => number | bigint)(0, 'pause');
}

/** A descriptor of a new user namespace. No process is left in it. */
function userNamespace(uids: readonly IdRun[], gids: readonly IdRun[]): number {
  const stack = new Uint8Array(STACK);
  // A namespace begins with a process. This one has a copy of all our memory, and does nothing with it but wait for its end.
  const top = (koffi.address(stack) + BigInt(STACK - 256)) & ~15n;
  const pid = check(cloneFunction(addressOfPause(), top, CLONE_NEWUSER, 0), 'clone');
  try {
    for (const [file, runs] of [
      ['uid_map', uids],
      ['gid_map', gids],
    ] as const) {
      writeFileSync(`/proc/${pid}/${file}`, runs.map((run) => `${run.inside} ${run.outside} ${run.count}\n`).join(''));
    }
    return openSync(`/proc/${pid}/ns/user`, 'r');
  } finally {
    process.kill(pid, 'SIGKILL');
    check(waitFunction(pid, null, WALL), 'waitpid');
  }
}

/**
 * Calls `action` with a descriptor of a new user namespace, as mount_setattr(2) takes it to shift owners, and closes it.
 * @throws ErrnoError ENOSPC where user namespaces are not allowed, EPERM; Node's own EINVAL for runs that overlap
 */
export function withUserNamespace<T>(
  uids: readonly IdRun[],
  gids: readonly IdRun[],
  action: (descriptor: number) => T,
): T {
  const fd = userNamespace(uids, gids);
  try {
    return action(fd);
  } finally {
    closeSync(fd);
  }
}
