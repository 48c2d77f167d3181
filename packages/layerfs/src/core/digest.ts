/**
 * Digests as branded strings, so that a compressed blob's digest is never taken for a layer's diffID.
 * Only sha256 is accepted: it is what every OCI registry and engine uses, and what our objects are named by.
 */
import { hex, hexBytes, latin1Bytes } from './bytes.js';
import { LayerfsError } from './error.js';

declare const kind: unique symbol;

/** `sha256:` and 64 lower-case hex digits: the hash of a blob's bytes as they are stored. */
export type Digest = string & { readonly [kind]: 'digest' | 'diffID' | 'chainID' };
/** Digest of a layer's uncompressed tar. Also a {@link Digest}: an uncompressed layer blob has its diffID as digest. */
export type DiffID = Digest & { readonly [kind]: 'diffID' };
/** Names a stack of layers: recursive hash of the ordered diffIDs (OCI image spec, config.md, "Layer ChainID"). */
export type ChainID = Digest & { readonly [kind]: 'chainID' };

const PATTERN = /^sha256:[0-9a-f]{64}$/;

/** Whether a text is a digest that this library works with. */
export function isDigest(text: string): text is Digest {
  return PATTERN.test(text);
}

/** @throws LayerfsError unimplemented for another algorithm, invalid-argument for anything else that is no sha256 digest. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  if (/^[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/.test(text) && !text.startsWith('sha256:')) {
    throw new LayerfsError('unimplemented', `digest algorithm not supported (only sha256 is): ${text.slice(0, 160)}`);
  }
  throw new LayerfsError('invalid-argument', `not a sha256 digest: ${JSON.stringify(text.slice(0, 160))}`);
}

/** A digest that is known to cover an uncompressed layer tar. @throws as {@link parseDigest}. */
export function parseDiffID(text: string): DiffID {
  return parseDigest(text) as DiffID;
}

/** A digest that is known to name a stack of layers. @throws as {@link parseDigest}. */
export function parseChainID(text: string): ChainID {
  return parseDigest(text) as ChainID;
}

/** The 64 hex digits of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice(7);
}

/** The 32 bytes of a digest. */
export function digestBytes(digest: Digest): Uint8Array {
  return hexBytes(digestHex(digest));
}

/** The digest made of 32 raw sha256 bytes. @throws LayerfsError invalid-argument for another length. */
export function digestFromBytes(sha256: Uint8Array): Digest {
  if (sha256.length !== 32) throw new LayerfsError('invalid-argument', `a sha256 has 32 bytes, not ${sha256.length}`);
  return `sha256:${hex(sha256)}` as Digest;
}

/**
 * The chainID of each prefix of a stack, lowest layer first; the last one names the whole stack.
 * `sha256` is an argument because this part of the library does no IO and imports no crypto.
 */
export function chainIDs(diffIDs: readonly DiffID[], sha256: (bytes: Uint8Array) => Uint8Array): ChainID[] {
  const chain: ChainID[] = [];
  for (const diffID of diffIDs) {
    const below = chain.at(-1);
    chain.push(
      below === undefined
        ? parseChainID(diffID)
        : (digestFromBytes(sha256(latin1Bytes(`${below} ${diffID}`))) as ChainID),
    );
  }
  return chain;
}
