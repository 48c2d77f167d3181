import type { MountInfo } from '../registry/registry.js';

/** Where changes go. */
export interface WritablePlan {
  /** Folder in overlayfs format. */
  readonly upper: string;
  /** Folder on the same filesystem. */
  readonly work: string;
  /** Nothing need survive a crash: no waiting for the disk. */
  readonly volatile: boolean;
}

/** All that a serving thread or process needs to know; plain data, passed as JSON. */
export interface ServePlan {
  /** The store's folder. */
  readonly root: string;
  /** File of the merged tree. */
  readonly tree: string;
  /** The objects folder. */
  readonly objects: string;
  /** What to put into the registry, without what only the server knows. */
  readonly info: Omit<MountInfo, 'pid' | 'pidStart' | 'since' | 'passthrough' | 'passthroughReason' | 'transport'>;
  /** Why the kernel is not to read file content itself, a sentence; absent: it is, where it can. */
  readonly noPassthrough?: string;
  /** A writable union; read-only when absent. */
  readonly writable?: WritablePlan;
  /** Who speaks with the kernel: we, or libfuse 2. */
  readonly transport: 'kernel' | 'fuse-native';
  /** How often to look for a next request before sleeping; the loop's default when absent. */
  readonly spins?: number;
}

/** What a server tells who started it, once. */
export type ServeReport =
  { readonly ready: MountInfo } | { readonly failed: { readonly code: string; readonly message: string } };
