import { errnoCode } from './errno.js';

/**
 * A system call failed. `errno` is the positive number of errno(3), `code` its name (`'ENOENT'`), as Node's own
 * file system errors have it, so that callers can treat both alike.
 */
export class ErrnoError extends Error {
  override readonly name = 'ErrnoError';
  readonly errno: number;
  readonly code: string;
  readonly syscall: string;
  readonly path: string | undefined;

  constructor(errno: number, syscall: string, path?: string | Uint8Array) {
    const code = errnoCode(errno);
    const where = path === undefined ? undefined : typeof path === 'string' ? path : Buffer.from(path).toString('utf8');
    super(where === undefined ? `${syscall}: ${code}` : `${syscall} ${JSON.stringify(where)}: ${code}`);
    this.errno = errno;
    this.code = code;
    this.syscall = syscall;
    this.path = where;
  }
}
