import { existsSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { ErrnoError, withUserNamespace } from '@layerfs/linux';
import type { Check } from './check.js';

/** Whether this user gets user namespaces, and ids to fill them with. */
export function userChecks(): Check[] {
  return [userNamespaces(), subordinateIds()];
}

function userNamespaces(): Check {
  const name = 'User namespaces';
  const run = { inside: 0, outside: process.geteuid?.() ?? 0, count: 1 };
  const group = { inside: 0, outside: process.getegid?.() ?? 0, count: 1 };
  try {
    // A group map of one's own needs more rights than a user map; that there is a namespace is what is asked here.
    const root = run.outside === 0;
    withUserNamespace([run], root ? [group] : [], () => undefined);
    return {
      name,
      ok: true,
      detail: 'Tried: this user can make one.',
      use: 'fuse-layerfs serves rootless podman and buildah.',
    };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return {
      name,
      ok: 'warn',
      detail: `Tried and refused: ${error instanceof ErrnoError ? error.message : 'the map of users was not taken'}.`,
      use: 'Rootless podman and buildah do not run here.',
      hint: 'As root: sysctl user.max_user_namespaces=15000, and where they exist kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0.',
    };
  }
}

function subordinateIds(): Check {
  const name = 'Subordinate ids';
  const { uid, username } = whoAmI();
  const uids = idsOf('/etc/subuid', uid, username);
  const gids = idsOf('/etc/subgid', uid, username);
  const detail = `${uids} users and ${gids} groups for ${username} (/etc/subuid, /etc/subgid).`;
  if (uids >= 65536 && gids >= 65536) return { name, ok: true, detail, use: 'Owners in rootless containers are kept.' };
  if (uid === 0) return { name, ok: true, detail, use: 'Not needed: root keeps every owner.' };
  return {
    name,
    ok: 'warn',
    detail,
    use: 'In a rootless container only one user and one group can own files.',
    hint: `As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${username}`,
  };
}

/** The user; a number stands for the name of one that has none, as in many containers. */
function whoAmI(): { uid: number; username: string } {
  try {
    return userInfo();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SYSTEM_ERROR') throw error;
    const uid = process.geteuid?.() ?? 0;
    return { uid, username: String(uid) };
  }
}

/** How many ids a file gives to a user: lines `NAME:START:COUNT`. */
function idsOf(file: string, uid: number, username: string): number {
  if (!existsSync(file)) return 0;
  let count = 0;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [who, , some] = line.split(':');
    if ((who === username || who === String(uid)) && /^\d{1,10}$/.test(some ?? '')) count += Number(some);
  }
  return count;
}
