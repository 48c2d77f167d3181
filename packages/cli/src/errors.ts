import type { LayerfsError, LayerfsErrorCode } from 'layerfs';
import { wasInterrupted } from './context.js';

/** Exit codes (docs/cli.md). 2 is a wrong command line, as everywhere. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  badInput: 4,
  notPermitted: 5,
  busy: 6,
  /** fsck found problems and repaired them all. */
  repaired: 7,
  /** fsck leaves problems behind. */
  damaged: 8,
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
  EACCES: { text: 'permission denied', exit: EXIT.notPermitted },
  EPERM: { text: 'not permitted', exit: EXIT.notPermitted },
  EROFS: { text: 'read-only file system', exit: EXIT.notPermitted },
  ENOSPC: { text: 'no space left on the disk', exit: EXIT.failed },
  EDQUOT: { text: 'disk quota exceeded', exit: EXIT.failed },
  EMFILE: { text: 'too many open files: raise the limit (ulimit -n)', exit: EXIT.failed },
};

/** What a user can do next, by the command and the error's code (`*`: any command). */
const NEXT: readonly (readonly [command: string, code: LayerfsErrorCode, hint: string])[] = [
  ['unmount', 'failed-precondition', 'end what uses it, or unmount with --lazy'],
  [
    'rmi',
    'failed-precondition',
    '--force removes it all the same; what mounts, snapshots and leases still need stays as long as they do',
  ],
  ['rm', 'failed-precondition', 'layerfs unmount unmounts it'],
  ['rm', 'not-found', 'layerfs snapshots lists them; images are removed with layerfs rmi'],
  [
    'diff',
    'not-found',
    'layerfs snapshots lists the snapshots; two images are compared with: layerfs diff IMAGE IMAGE',
  ],
  ['commit', 'not-found', 'layerfs snapshots lists them'],
  ['lease', 'not-found', 'layerfs images lists the images, layerfs leases the leases'],
  ['unlease', 'not-found', 'layerfs leases lists them'],
  ['checkout', 'already-exists', 'name a folder that is empty or does not exist yet'],
  ['export', 'already-exists', 'name a file or folder that does not exist yet'],
  ['mount', 'unavailable', 'layerfs doctor says what is missing here; layerfs checkout needs no mount'],
  ['mount', 'permission-denied', 'layerfs doctor says what is missing here; layerfs checkout needs no mount'],
  ['explain', 'not-found', 'layerfs mounts lists the mounts; without one: layerfs explain IMAGE PATH'],
  [
    '*',
    'resource-exhausted',
    'free some space (layerfs du, layerfs gc, layerfs prune), or name a store elsewhere with --root',
  ],
  ['*', 'internal', 'this is a bug in layerfs: please report it, with what LAYERFS_DEBUG=1 prints'],
];

/** What a command was doing when it failed. */
export interface Doing {
  readonly command: string;
  /** After "cannot": `mount app on /mnt`. */
  readonly task: string;
}

/** An error in words: a line that says what failed and why, perhaps one that says what to do, and the exit code. */
export interface ErrorText {
  readonly message?: string;
  readonly hint?: string;
  readonly exit: number;
}

/** What to print for an error, and with which code to exit. This is the one place where errors become words. */
export function explainError(error: unknown, doing?: Doing): ErrorText {
  // Commander has printed its own already.
  if (error instanceof Error && error.name === 'CommanderError') {
    return { exit: (error as Error & { exitCode: number }).exitCode === 0 ? EXIT.ok : EXIT.usage };
  }
  if (wasInterrupted()) return { message: 'interrupted', exit: EXIT.interrupted };
  if (!(error instanceof Error)) return { message: withTask(String(error), doing), exit: EXIT.failed };
  if (isClosedPipe(error)) return { exit: EXIT.ok };
  const stack = process.env['LAYERFS_DEBUG'] === undefined ? '' : `\n${fullStack(error)}`;
  if (isLayerfsError(error)) {
    const hint = NEXT.find(
      ([command, code]) => code === error.code && (command === '*' || command === doing?.command),
    )?.[2];
    return {
      message: withTask(error.message, doing) + stack,
      exit: BY_CODE[error.code],
      ...(hint === undefined || error.message.includes('--root') ? {} : { hint }),
    };
  }
  const { code, path } = error as NodeJS.ErrnoException;
  const known = code === undefined ? undefined : SYSTEM[code];
  const text = known === undefined ? error.message : `${path === undefined ? '' : `${path}: `}${known.text}`;
  return { message: withTask(text, doing) + stack, exit: known?.exit ?? EXIT.failed };
}

// Known by its name: loading the library only to compare classes would slow down `--help`.
function isLayerfsError(error: Error): error is LayerfsError {
  return error.name === 'LayerfsError' && Object.hasOwn(BY_CODE, (error as LayerfsError).code);
}

// `layerfs export IMAGE - | head`: nobody wants the rest.
function isClosedPipe(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ((at as NodeJS.ErrnoException).code === 'EPIPE') return true;
  }
  return false;
}

function fullStack(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${fullStack(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}

const GERUNDS = /^(?:importing|exporting|checking out|removing|committing|using the store|opening the store)\b[^:]*: /;

function withTask(message: string, doing: Doing | undefined): string {
  if (doing === undefined) return message;
  if (/^cannot /i.test(message)) return `c${message.slice(1)}`;
  const reason = message.replace(GERUNDS, '');
  // The library's sentences begin with a capital; names such as FUSE and Node.js keep theirs.
  const joined = /^(?:[A-Z][a-z]+ |A )/.test(reason) && !/^(?:Linux|Node) /.test(reason);
  return `cannot ${doing.task}: ${joined ? reason.charAt(0).toLowerCase() + reason.slice(1) : reason}`;
}
