import type { Attr } from '@layerfs/fuse';

/**
 * A file of the merged lower: a number that the lower chose, the same for as long as it is mounted. The root is 1, and
 * 0 is "none". Names of one file (hardlinks) are one node.
 */
export type LowerNode = number;

/** One name of a lower file. */
export interface LowerName {
  readonly folder: LowerNode;
  /** Bytes as latin1. */
  readonly name: string;
}

/**
 * The read-only stack below an upper folder, already merged: no whiteouts and no opaque folders are seen any more. It does
 * not change while it is mounted. There are two kinds: the tree of a stack from the store, and plain folders.
 * Synchronous, because it is asked in the serving thread. Every method throws ErrnoError when the disk fails it.
 */
export interface Lower {
  /** Inode numbers (`ino` of {@link Lower.fill}) are below this. */
  readonly inoLimit: number;
  /** Names in the listing of a node are stable: index `i` always means the same name. */
  childCount(folder: LowerNode): number;
  childName(folder: LowerNode, index: number): string;
  childNode(folder: LowerNode, index: number): LowerNode;
  /** DT_* of a child, without looking at it where that is possible. */
  childType(folder: LowerNode, index: number): number;
  /** 0 when there is no such name. */
  lookup(folder: LowerNode, name: string): LowerNode;
  /** Type and permissions, as in st_mode. */
  mode(node: LowerNode): number;
  /** What stat shows as `st_ino`, without looking at the file. */
  ino(node: LowerNode): number;
  /** Everything that stat shows. A folder's nlink is 2 and one for each folder in it. */
  fill(node: LowerNode, attr: Attr): void;
  /** The folder that a folder lies in; the root's is the root. */
  parent(folder: LowerNode): LowerNode;
  /** All names of a node, for folders the only one; none for the root. May be slow the first time. */
  names(node: LowerNode): readonly LowerName[];
  /** The target's bytes. */
  readlink(node: LowerNode): Uint8Array;
  /** Without those that are the union's own (`isOverlayXattr`). */
  xattrs(node: LowerNode): readonly (readonly [name: string, value: Uint8Array])[];
  xattr(node: LowerNode, name: string): Uint8Array | undefined;
  /** Whether any file has extended attributes, as far as that is known. */
  readonly mayHaveXattrs: boolean;
  /**
   * Opens a regular file's content for reading through a mount by which it cannot be written; the caller closes it.
   * -1: the file is empty and has no content.
   */
  openContent(node: LowerNode): number;
  /** The node of a file with several names by its `ino`; 0: there is none that can be told. May search everything. */
  nodeOf(ino: number): LowerNode;
  /** Equal numbers mean equal content, which may then share one descriptor or backing id; 0: the file is empty. */
  contentKey(node: LowerNode): number;
  /**
   * Begins to verify a regular file's content, where that was asked for and takes long.
   * @param done called in the serving thread; {@link openContent} is quick then
   * @returns false when there is nothing to wait for
   */
  verifyLater?(node: LowerNode, done: () => void): boolean;
  /** Does a little ahead while no request waits. @returns whether there is more */
  spare?(): boolean;
  /** Gives back what it held ready: nobody has asked for a while. */
  rest?(): void;
  close(): void;
}
