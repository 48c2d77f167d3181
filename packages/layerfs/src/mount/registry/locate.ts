import { readlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/**
 * Makes a path absolute and follows symbolic links, but never looks into the given mount points, so that a mount
 * whose server is dead or slow cannot fail or hang it. What does not exist is kept as it is written.
 */
export function resolveOutside(path: string, mountpoints: readonly string[]): string {
  let rest = resolve(path).split('/').slice(1);
  let done = '/';
  let followed = 0;
  while (rest.length > 0) {
    if (mountpoints.includes(done)) return join(done, ...rest);
    const name = rest.shift() as string;
    if (name === '') continue;
    const here = join(done, name);
    const target = mountpoints.includes(here) ? undefined : linkTarget(here);
    if (target === undefined) {
      done = here;
      continue;
    }
    // 40 is the kernel's own limit for links in one path.
    if (++followed > 40) return join(here, ...rest);
    rest = [...resolve(dirname(here), target).split('/').slice(1), ...rest];
    done = '/';
  }
  return done;
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    // EINVAL: not a link. The rest: nothing there to follow, or not for us.
    if (['EINVAL', 'ENOENT', 'ENOTDIR', 'EACCES', 'ENOTCONN', 'UNKNOWN'].includes(code)) return undefined;
    throw error;
  }
}
