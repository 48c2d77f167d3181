/** The parts of a check that read content. Each can be done in any thread, at any time, and again. */
import type { ChainID, Digest, DiffID } from '../../core/digest.js';
import type { Finding } from './problem.js';

/** One unit of work. */
export type Job =
  /** All objects whose names begin with two hex digits. */
  | { readonly kind: 'objects'; readonly prefix: string }
  /** One of them. */
  | { readonly kind: 'object'; readonly hex: string }
  | { readonly kind: 'layer'; readonly diffID: DiffID }
  /** `layer`: it is, or may be, a compressed layer, and not a manifest or config. */
  | { readonly kind: 'blob'; readonly digest: Digest; readonly layer: boolean }
  /** Without layers, lowest first, only the tree itself is checked. */
  | { readonly kind: 'chain'; readonly chainID: ChainID; readonly layers?: readonly DiffID[] };

/** What the tar of a layer gives; sizes in bytes. */
export interface LayerFact {
  readonly size: number;
  readonly contentSize: number;
  readonly entries: number;
  readonly objects: number;
}

/** What a blob turned out to be; `diffID` of one that holds a layer. */
export interface BlobFact {
  readonly size: number;
  readonly diffID?: DiffID;
}

/** What came of a job. */
export interface JobResult {
  readonly findings: readonly Finding[];
  /** Objects, layers, blobs or chains. */
  readonly items: number;
  readonly layer?: LayerFact;
  readonly blob?: BlobFact;
}

/** Names a job in checkpoints. */
export function jobName(job: Job): string {
  switch (job.kind) {
    case 'objects':
      return `objects/${job.prefix}`;
    case 'object':
      return `object/${job.hex}`;
    case 'layer':
      return `layers/${job.diffID.slice(7)}`;
    case 'blob':
      return `blobs/${job.digest.slice(7)}`;
    case 'chain':
    default:
      return `chains/${job.chainID.slice(7)}`;
  }
}

/** What jobs work with. */
export interface JobContext {
  /** The store's folder. */
  readonly root: string;
  /** Whose the store is. */
  readonly uid: number;
}
