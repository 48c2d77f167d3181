import { CommanderError } from 'commander';
import { LayerfsError, type LayerfsErrorCode } from 'layerfs';

/** Exit codes (docs/cli.md). 2 is a wrong command line, as everywhere. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  badInput: 4,
  notPermitted: 5,
  busy: 6,
  interrupted: 130,
} as const;

const BY_CODE: Readonly<Record<LayerfsErrorCode, number>> = {
  'not-found': EXIT.notFound,
  'already-exists': EXIT.failed,
  'invalid-argument': EXIT.badInput,
  'failed-precondition': EXIT.busy,
  unavailable: EXIT.failed,
  corrupt: EXIT.badInput,
  unimplemented: EXIT.badInput,
  'permission-denied': EXIT.notPermitted,
  'resource-exhausted': EXIT.failed,
  aborted: EXIT.interrupted,
  internal: EXIT.failed,
};

/** Errors of the operating system that a user can do something about. */
const SYSTEM: Readonly<Record<string, { readonly text: string; readonly exit: number }>> = {
  ENOENT: { text: 'no such file or folder', exit: EXIT.notFound },
  ENOTDIR: { text: 'not a folder', exit: EXIT.badInput },
  EISDIR: { text: 'is a folder', exit: EXIT.badInput },
  EACCES: { text: 'no right to', exit: EXIT.notPermitted },
  EPERM: { text: 'not permitted', exit: EXIT.notPermitted },
  EROFS: { text: 'read-only file system', exit: EXIT.notPermitted },
  ENOSPC: { text: 'no space left on the disk: free some, or choose another --root', exit: EXIT.failed },
  EDQUOT: { text: 'disk quota exceeded', exit: EXIT.failed },
  EMFILE: { text: 'too many open files: raise the limit (ulimit -n)', exit: EXIT.failed },
};

/** What to print for an error, and with which code to exit. This is the one place where errors become words. */
export function explainError(error: unknown): { message: string | undefined; exit: number } {
  if (error instanceof CommanderError) return { message: undefined, exit: error.exitCode === 0 ? 0 : EXIT.usage };
  if (error instanceof LayerfsError) return { message: error.message, exit: BY_CODE[error.code] };
  if (error instanceof Error) {
    const { code, path } = error as NodeJS.ErrnoException;
    const known = code === undefined ? undefined : SYSTEM[code];
    if (known !== undefined)
      return { message: `${path === undefined ? '' : `${path}: `}${known.text}`, exit: known.exit };
    return { message: process.env['LAYERFS_DEBUG'] === undefined ? error.message : error.stack, exit: EXIT.failed };
  }
  return { message: String(error), exit: EXIT.failed };
}
