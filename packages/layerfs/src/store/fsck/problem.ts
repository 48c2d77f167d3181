/** What a check of a store can find, and how it is told. */
import type { Registry } from '../../registry/registry.js';

/**
 * Every kind of problem, with how bad it is. `damage`: something that was stored is not what it should be. `litter`: the
 * remains of something that ended early; nothing is lost. `notice`: not the store's own, and left alone.
 */
export const PROBLEM_KINDS = {
  /** The file `version` is missing or unreadable. */
  'version-wrong': 'damage',
  /** A folder that every store has is missing. */
  'folder-missing': 'damage',
  /** The records cannot be read at all. */
  'metadata-unreadable': 'damage',
  /** There are layers and images, and no record of any. */
  'metadata-lost': 'damage',
  /** A file or folder can be changed by others, or not be read by its owner. */
  'wrong-mode': 'damage',
  /** It belongs to another user than the store. */
  'wrong-owner': 'damage',
  /** A symbolic link, a folder or a device where a file should be, or a file instead of a folder. */
  'wrong-type': 'damage',
  /** The disk, or missing rights, kept it from being read. */
  unreadable: 'damage',
  /** Not a name that anything in a store has. */
  'foreign-file': 'notice',
  /** A session, lock or temporary file of a process that is gone. */
  leftover: 'litter',
  /** The entry of a mount whose server is gone. */
  'stale-mount': 'litter',
  /** The entry of a living mount cannot be read: nobody knows what it needs. */
  'mount-entry-damaged': 'damage',
  /** An object's content is not what its name says. */
  'object-damaged': 'damage',
  'object-missing': 'damage',
  /** No layer holds it. */
  'object-orphan': 'litter',
  /** All files of a layer are missing. */
  'layer-missing': 'damage',
  /** A layer's tree, tar record or object list is missing. */
  'layer-file-missing': 'damage',
  /** One of them is damaged, or is not what the layer's tar gives. */
  'layer-file-damaged': 'damage',
  /** All files of a layer are sound, but together they are another tar than its diffID says. */
  'layer-mismatch': 'damage',
  /** There is no record of it, and no image needs it. */
  'layer-orphan': 'litter',
  /** A merged tree is damaged, or is not what its layers give. */
  'chain-damaged': 'damage',
  'chain-orphan': 'litter',
  /** A manifest or config. */
  'document-missing': 'damage',
  'document-damaged': 'damage',
  /** A compressed layer. */
  'blob-damaged': 'damage',
  'blob-orphan': 'litter',
  /** The folder of a snapshot, or its upper folder, is missing. */
  'snapshot-missing': 'damage',
  'snapshot-orphan': 'litter',
  /** A record is no JSON, or not of the form it should have. */
  'record-damaged': 'damage',
  /** A name stands for an image without a record. */
  'name-dangling': 'damage',
  /** The record of an image says something else than its manifest and config. */
  'image-record-wrong': 'damage',
  'layer-record-missing': 'damage',
  'layer-record-wrong': 'damage',
  'blob-record-missing': 'damage',
  'blob-record-wrong': 'damage',
  /** An object's reference count, or its size, is not what the object lists of the layers give. */
  'count-wrong': 'damage',
} as const satisfies Record<string, Severity>;

/** How bad a problem is. */
export type Severity = 'damage' | 'litter' | 'notice';

/** The closed set of what a check can find. */
export type ProblemKind = keyof typeof PROBLEM_KINDS;

/** What a repair did about a problem. */
export interface Outcome {
  /**
   * `repaired`: it is as it should be. `swept`: removed, nothing needed it. `quarantined`: what was damaged was moved away
   * and nothing could take its place. `left`: nothing was done.
   */
  readonly state: 'repaired' | 'swept' | 'quarantined' | 'left';
  /** How, or why not; no sentence. */
  readonly detail: string;
}

/** One thing that is not as it should be, before it is known whom it affects. */
export interface Finding {
  readonly kind: ProblemKind;
  /** Below the store's folder; of a record `meta:TABLE/KEY`. */
  readonly path: string;
  /** What should be there, in words, such as a digest or a mode. */
  readonly expected: string;
  readonly found: string;
}

/** One thing that is not as it should be. */
export interface Problem extends Finding {
  readonly severity: Severity;
  /** The images that it affects: names, or the manifest's digest of an image without one; `snapshot NAME` for snapshots. */
  readonly images: readonly string[];
  /** Only after a repair. */
  readonly outcome?: Outcome;
}

/** Two findings are the same problem when their keys are the same. */
export function keyOf({ kind, path }: Finding): string {
  return `${kind} ${path}`;
}

/** What was looked at. Sizes in bytes. */
export interface Checked {
  readonly objects: number;
  readonly layers: number;
  readonly chains: number;
  /** Manifests, configs and compressed layers. */
  readonly blobs: number;
  readonly images: number;
  readonly snapshots: number;
  /** Bytes that were read and hashed. */
  readonly bytes: number;
}

/** The result of a check. */
export interface FsckReport {
  readonly root: string;
  /** `sound`: nothing but notices. `repaired`: all problems were dealt with. `damaged`: some are left, or something is lost. */
  readonly state: 'sound' | 'repaired' | 'damaged';
  readonly checked: Checked;
  /** When the check was begun of which this one is the rest (ISO 8601); what was sound then was not looked at again. */
  readonly resumed?: string;
  /** At most {@link MAX_PROBLEMS}, by severity, then kind, then path. */
  readonly problems: readonly Problem[];
  /** How many more there are. */
  readonly omitted: number;
  /** What may be litter or just under way, as somebody is adding to the store: paths below its folder. */
  readonly unsettled: readonly string[];
  /** Images with a problem that is left, by what to call them. */
  readonly affected: readonly string[];
  /** What to do next, sentences; empty when there is nothing to do. */
  readonly next: readonly string[];
  /** Folder of what was moved away by this repair. */
  readonly quarantine?: string;
}

/** More problems are counted, not listed. */
export const MAX_PROBLEMS = 10_000;

/** What a check tells while it runs. */
export type FsckProgress =
  | {
      readonly kind: 'reading';
      /** Units of work (a 256th of the objects, a layer, a blob, a chain) that are done, of how many. */
      readonly done: number;
      readonly total: number;
      /** Bytes hashed so far. */
      readonly bytes: number;
      /** About how many there will be. */
      readonly totalBytes: number;
    }
  | { readonly kind: 'comparing' }
  | { readonly kind: 'repairing'; readonly what: string }
  /** Somebody else uses the store in a way that has to end first. */
  | { readonly kind: 'waiting'; readonly what: string };

/** Options of a check. */
export interface FsckOptions {
  /** Repair what can be repaired; nothing that is sound is removed. */
  readonly repair?: boolean;
  /** With `repair`: archives, layouts or tars that may hold layers, manifests and configs to take the place of damaged ones. */
  readonly from?: readonly string[];
  /** With `repair`: the client for what is taken again from the registry that an image was pulled from. */
  readonly registry?: Registry;
  /** Begin anew where an earlier check was interrupted, rather than going on. */
  readonly afresh?: boolean;
  readonly onProgress?: (event: FsckProgress) => void;
  readonly signal?: AbortSignal;
}
