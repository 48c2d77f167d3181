/**
 * Other users in this process. The kernel keeps credentials for each thread; libc's setuid changes them in all threads,
 * the bare system call only in its own. So a synchronous function can run as somebody else at the price of six system
 * calls, and Node's other threads do not notice.
 */
import { check, nativeSyscall } from '../../../packages/linux/dist/library.js';

const arm = process.arch === 'arm64';
const setresuid = nativeSyscall(arm ? 147 : 117, 'long real, long effective, long saved');
const setresgid = nativeSyscall(arm ? 149 : 119, 'long real, long effective, long saved');
const setgroups = nativeSyscall(arm ? 159 : 116, 'long count, const void *groups');

export interface User {
  readonly uid: number;
  readonly gid: number;
  /** Further groups. */
  readonly groups: readonly number[];
}

/** Owns what a case hands to a user. */
export const OWNER: User = { uid: 4001, gid: 4001, groups: [] };
/** In OWNER's group, as a further group, and in group 5000. */
export const MEMBER: User = { uid: 4002, gid: 4002, groups: [5000, 4001] };
/** A stranger to both. */
export const OTHER: User = { uid: 4003, gid: 4003, groups: [] };
/** OWNER, who is also in group 5000. */
export const OWNER_IN_5000: User = { uid: 4001, gid: 4001, groups: [5000] };

function become(user: User): void {
  const groups = new Uint8Array(new Uint32Array(user.groups).buffer);
  check(setgroups(user.groups.length, groups), 'setgroups');
  // The saved ids stay root's: that is the way back. All capabilities are gone from the effective set meanwhile.
  check(setresgid(user.gid, user.gid, 0), 'setresgid');
  check(setresuid(user.uid, user.uid, 0), 'setresuid');
}

/** Runs a function as `user`, who has no capabilities. The function must be synchronous. Root only. */
export function asUser<T>(user: User, run: () => T): T {
  const groups = process.getgroups?.() ?? [];
  become(user);
  try {
    return run();
  } finally {
    check(setresuid(0, 0, 0), 'setresuid');
    check(setresgid(0, 0, 0), 'setresgid');
    check(setgroups(groups.length, new Uint8Array(new Uint32Array(groups).buffer)), 'setgroups');
  }
}

/** Runs a function with another umask. */
export function withUmask<T>(mask: number, run: () => T): T {
  const before = process.umask(mask);
  try {
    return run();
  } finally {
    process.umask(before);
  }
}
