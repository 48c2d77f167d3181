import { createHash } from 'node:crypto';
import { digestFromBytes, type Digest } from '../core/digest.js';

/** The digest of bytes in memory. */
export function documentDigest(bytes: Uint8Array): Digest {
  return digestFromBytes(createHash('sha256').update(bytes).digest());
}
