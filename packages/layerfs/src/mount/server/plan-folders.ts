import type { IdRange } from '../../core/overlay/id-map.js';

/** A union of plain folders to serve, as `fuse-layerfs` is asked for; plain data, passed as JSON. */
export interface FoldersPlan {
  readonly kind: 'folders';
  /** Absolute. */
  readonly mountpoint: string;
  /** Absolute, topmost first. */
  readonly lowers: readonly string[];
  /** Absolute; read-only when absent. */
  readonly upper?: { readonly dir: string; readonly work: string };
  readonly uidRanges?: readonly IdRange[];
  readonly gidRanges?: readonly IdRange[];
  /** Every file is shown with this owner. */
  readonly squashUid?: number;
  readonly squashGid?: number;
  readonly volatile: boolean;
  /** Seconds. */
  readonly lifetime?: number;
  readonly xattrs: boolean;
  readonly acl: boolean;
  readonly passthrough: boolean;
  readonly fsname: string;
  readonly subtype: string;
  readonly readOnly: boolean;
  readonly suid: boolean;
  readonly dev: boolean;
  readonly exec: boolean;
  readonly atime: boolean;
  readonly allowOther: boolean;
}
