import { readSync } from 'node:fs';
import { check, cPath, lastErrno, nativeSyscall } from './library.js';
import { close } from './io.js';
import { ErrnoError } from './error.js';

// Numbers since Linux 5.x are the same on every architecture.
const fsopenFunction = nativeSyscall(430, 'const void *name, unsigned long flags');
const fsconfigFunction = nativeSyscall(
  431,
  'long fd, unsigned long command, const void *key, const void *value, long extra',
);
const fsmountFunction = nativeSyscall(432, 'long fd, unsigned long flags, unsigned long attributes');

const CLOEXEC = 1;
const SET_FLAG = 0;
const SET_STRING = 1;
const CREATE = 6;

/**
 * A mount by fsopen(2), fsconfig(2) and fsmount(2) (Linux 5.2): parameters one by one, of any number and length, where mount(2) has
 * one page for all.
 * @param parameters in this order; a value of `undefined` makes it a flag
 * @param attributes MOUNT_ATTR bits
 * @returns a descriptor of the mount, which is attached nowhere and goes away when it is closed: see {@link moveMount}
 * @throws ErrnoError naming the parameter that was refused, with what the kernel says of it
 */
export function mountDetached(
  type: string,
  parameters: readonly (readonly [key: string, value: string | undefined])[],
  attributes: number,
): number {
  const context = check(fsopenFunction(cPath(type), CLOEXEC), 'fsopen', type);
  try {
    for (const [key, value] of parameters) {
      const set = value === undefined ? SET_FLAG : SET_STRING;
      const text = value === undefined ? null : cPath(value);
      if (fsconfigFunction(context, set, cPath(key), text, 0) === -1) {
        throw explained(context, 'fsconfig', `${key}${value === undefined ? '' : `=${value}`}`);
      }
    }
    if (fsconfigFunction(context, CREATE, null, null, 0) === -1) throw explained(context, 'fsconfig create', type);
    const mount = fsmountFunction(context, CLOEXEC, attributes);
    if (mount === -1) throw explained(context, 'fsmount', type);
    return mount;
  } finally {
    close(context);
  }
}

/** An error with the messages that wait in the context: each is read by itself and begins with `e `, `w ` or `i `. */
function explained(context: number, call: string, what: string): ErrnoError {
  const failure = lastErrno();
  const messages: string[] = [];
  const buffer = Buffer.alloc(4096);
  try {
    for (let length = readSync(context, buffer); length > 0; length = readSync(context, buffer)) {
      messages.push(buffer.toString('utf8', 2, length).trim());
    }
  } catch (error) {
    // ENODATA: no more messages.
    if (!(error instanceof Error)) throw error;
  }
  return new ErrnoError(failure, call, messages.length > 0 ? `${what} (${messages.join('; ')})` : what);
}
