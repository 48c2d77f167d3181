import type { Digest, DiffID } from '../../core/digest.js';
import type { StorePaths } from '../paths.js';
import type { Xxhash } from '../hash.js';
import type { BlobFact, LayerFact } from './jobs.js';
import type { Metadata } from './metadata.js';
import type { JobThreads } from './threads.js';

/** What the parts of a check share. */
export interface CheckState {
  readonly paths: StorePaths;
  readonly xxhash: Xxhash;
  /** Whose the store is. */
  readonly uid: number;
  /** Undefined when the records cannot be read. */
  metadata: Metadata | undefined;
  /** What reading the layers and blobs has shown so far. */
  readonly facts: Facts;
  readonly threads: JobThreads;
  /** Whether nobody else has the store open; if so, nobody has until the check ends. */
  readonly alone: () => boolean;
}

/** What reading has shown. Of layers and blobs that came later nothing is known. */
export interface Facts {
  readonly layers: Map<DiffID, LayerFact>;
  readonly blobs: Map<Digest, BlobFact>;
}
