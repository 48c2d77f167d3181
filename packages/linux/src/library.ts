import koffi from 'koffi';
import { ErrnoError } from './error.js';

/** A path as Node's `fs` takes it: a string is UTF-8, bytes are passed on as they are. */
export type Path = string | Uint8Array;

/** A C function: numbers, bigints, byte arrays and strings in, a number out. */
export type Native = (...args: unknown[]) => number;

const libc = koffi.load(null);

/** Binds a libc function by its C prototype on first use, so that loading this package costs nothing. */
export function native(prototype: string): Native {
  let bound: Native | undefined;
  return (...args) => (bound ??= libc.func(prototype) as unknown as Native)(...args);
}

/** As {@link native}, but the call runs in another thread. errno is that thread's and lost. */
export function nativeAsync(prototype: string): (...args: unknown[]) => Promise<number> {
  const bound = libc.func(prototype);
  return (...args) =>
    new Promise((resolve, reject) => {
      bound.async(...args, (error: Error | null, result: number) => {
        if (error === null) resolve(result);
        else reject(error);
      });
    });
}

/** A path as a NUL-terminated byte string; a NUL inside is refused, as Node does. */
export function cPath(path: Path): Uint8Array {
  const bytes = typeof path === 'string' ? Buffer.from(path, 'utf8') : path;
  if (bytes.includes(0)) throw new TypeError('a path must not contain a NUL byte');
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  return out;
}

/** The errno that the last call of this thread left. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Gives `result` back, or throws the ErrnoError of a call that returned -1. */
export function check(result: number, syscall: string, path?: Path): number {
  if (result === -1) throw new ErrnoError(koffi.errno(), syscall, path);
  return result;
}

const syscallFunction = native(
  'long syscall(long number, intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f)',
);

/** An argument of {@link syscall}: a number, or memory whose address is passed. */
export type SyscallArgument = number | bigint | Uint8Array;

function argument(value: SyscallArgument | undefined): number | bigint {
  if (value === undefined) return 0;
  return typeof value === 'object' ? koffi.address(value) : value;
}

/** syscall(2) for calls that libc does not wrap. Returns -1 with errno set on failure. */
export function syscall(number: number, ...args: SyscallArgument[]): number {
  return syscallFunction(
    number,
    argument(args[0]),
    argument(args[1]),
    argument(args[2]),
    argument(args[3]),
    argument(args[4]),
    argument(args[5]),
  );
}
