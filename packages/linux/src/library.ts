import koffi from 'koffi';
import { ErrnoError } from './error.js';

/** A path as Node's `fs` takes it: a string is UTF-8, bytes are passed on as they are. */
export type Path = string | Uint8Array;

/** A C function: numbers, bigints, byte arrays and strings in, a number out. */
export type Native = (...args: unknown[]) => number;

const libc = koffi.load(null);

/** dlopen(3) of a shared library, for good: what needs one of its name (soname) later gets this one. Throws Error. */
export function loadLibrary(file: string): void {
  koffi.load(file);
}

/**
 * Binds a libc function by its C prototype on first use, so that loading this package costs nothing. It has at most seven parameters,
 * unless it is variadic: then each value after those that are named comes behind the name of its type.
 */
export function native(prototype: string): Native {
  let bound: Native | undefined;
  const bind = (): Native => (bound ??= libc.func(prototype) as unknown as Native);
  if (prototype.includes('...')) return (...args) => bind()(...args);
  // An array of arguments for each call would take longer than many a call; what a function does not take, koffi leaves alone.
  return (a, b, c, d, e, f, g) => (bound ?? bind())(a, b, c, d, e, f, g);
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

/**
 * Binds a call of at most six parameters that libc may not wrap, by its number. `parameters` is the C parameter list; give memory as pointers
 * (`const void *path`), not as addresses: only then is it sure to be alive while the call runs.
 */
export function nativeSyscall(number: number, parameters: string): Native {
  const call = native(`long syscall(long number, ${parameters})`);
  return (a, b, c, d, e, f) => call(number, a, b, c, d, e, f);
}
