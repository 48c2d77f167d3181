import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { loadLibrary } from '@layerfs/linux';
import { MountError } from '../error.js';

/** Answers an operation of the binding: 0 or a count, or minus errno; then what the operation gives. */
export type Signal = (result: number, ...values: unknown[]) => void;

/** What the binding keeps of one operation: a C struct in memory of its own, and then the operation's arguments. */
export type NativeHandler = (state: Buffer, opcode: number, ...args: unknown[]) => void;

/** The class that the npm package `fuse-native` exports, as far as it is used here. */
export interface FuseNative {
  readonly mnt: string;
  mount(done: (error: Error | null) => void): void;
  /** Its words for libfuse's command line. */
  _fuseOptions(): string;
  /** Answers with the attributes of what its operations say. */
  _op_getattr(this: { readonly ops: object }, signal: Signal, path: string): void;
  /** Handlers by the numbers of the binding's operations. */
  _makeHandlerArray(): (NativeHandler | undefined)[];
}

type FuseNativeClass = new (mountpoint: string, operations: object, options: { readonly timeout: false }) => FuseNative;

const require = createRequire(import.meta.url);
let loaded: FuseNativeClass | undefined;

/**
 * Loads the binding and the libfuse 2 that its package brings. Nothing is compiled.
 * Throws MountError when the package is not installed (it is optional) or has no binary for this machine.
 */
export function loadFuseNative(): FuseNativeClass {
  try {
    if (loaded === undefined) {
      loadOwnLibfuse();
      loaded = require('fuse-native') as FuseNativeClass;
    }
    return loaded;
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    throw new MountError(
      'no-binding',
      `the npm package fuse-native cannot be loaded here (${process.platform} ${process.arch}): ${why}`,
      error,
    );
  }
}

// The binary asks the system for libfuse.so.2, which few have by now; the package's own bears that name, too.
function loadOwnLibfuse(): void {
  if (process.platform !== 'linux') return;
  const folder = dirname(require.resolve('fuse-native'));
  const library = join(folder, 'prebuilds', `linux-${process.arch}`, 'libfuse.so');
  if (existsSync(library)) loadLibrary(library);
}
