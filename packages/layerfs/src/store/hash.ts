import xxhash from 'xxhash-wasm';

/** xxhash as the tree and the tar record take it; loaded once. */
export type Xxhash = Awaited<ReturnType<typeof xxhash>>;

let loaded: Promise<Xxhash> | undefined;

/** The xxhash functions of this process. */
export function loadXxhash(): Promise<Xxhash> {
  loaded ??= xxhash();
  return loaded;
}
