/**
 * Section checksums: xxh64 (seed 0), given by the caller, because loading it (WebAssembly) is asynchronous and this
 * part of the library is not. The API object of the package `xxhash-wasm` fits {@link Xxh64} as it is.
 */

/** Makes streaming xxh64 states. */
export interface Xxh64 {
  create64(): { update(bytes: Uint8Array): unknown; digest(): bigint };
}

/** Fed in pieces, so that a WebAssembly hasher's memory does not grow to the size of a section. */
const PIECE = 256 * 1024;

/** xxh64 of `bytes`, as low and high 32 bits. */
export function xxh64(hash: Xxh64, bytes: Uint8Array): { low: number; high: number } {
  const state = hash.create64();
  for (let at = 0; at < bytes.length; at += PIECE) state.update(bytes.subarray(at, at + PIECE));
  const digest = state.digest();
  return { low: Number(digest & 0xffffffffn), high: Number(digest >> 32n) };
}
