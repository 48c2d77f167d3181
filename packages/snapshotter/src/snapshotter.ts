/**
 * containerd's snapshotter contract (core/snapshots/snapshotter.go) as a TypeScript interface.
 *
 * Words: a *key* names an active snapshot, which can be written to, or a view, which cannot. A *name* is that of a
 * committed snapshot, which never changes and may be a *parent*. Keys and names share one space; they may hold slashes
 * and spaces and are no paths.
 */

/** Label with the chainID of what is to be unpacked: if that is there already, it need not be. */
export const REMOTE = 'containerd.io/snapshot.ref';

/** What a snapshot is. */
export type Kind = 'active' | 'view' | 'committed';

/** Labels of a snapshot. */
export type Labels = Readonly<Record<string, string>>;

/** What is known of a snapshot. */
export interface SnapshotInfo {
  readonly kind: Kind;
  /** Its key, or its name when committed. */
  readonly name: string;
  /** Name of the committed snapshot it stands on; absent for a base. */
  readonly parent?: string;
  readonly labels: Labels;
  /** Nanoseconds since 1970. */
  readonly created: bigint;
  /** Nanoseconds since 1970; equal to `created` after a commit. */
  readonly updated: bigint;
}

/** Disk usage of a snapshot itself, without its parents. */
export interface Usage {
  readonly inodes: number;
  readonly bytes: number;
}

/** One mount(2) call, as containerd's api/types/mount.proto has it. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
  readonly target?: string;
}

/** Options of `prepare` and `view`. */
export interface PrepareOptions {
  readonly labels?: Labels;
  readonly signal?: AbortSignal;
}

/** Options of `commit`. */
export interface CommitOptions extends PrepareOptions {
  /** The parent that the caller expects (containerd 2.2); a different one is an error. */
  readonly parent?: string;
}

/**
 * A snapshotter. Every method throws LayerfsError: `not-found` for an unknown key, name or parent, `already-exists` for a
 * taken one.
 */
export interface Snapshotter {
  /** What is known of a snapshot of any kind. */
  stat(key: string): Promise<SnapshotInfo>;

  /**
   * Changes labels. `fields` limits what is taken over: `labels` or `labels.KEY`; without it all labels are replaced.
   * @throws LayerfsError invalid-argument for another field
   */
  update(info: Pick<SnapshotInfo, 'name' | 'labels'>, fields?: readonly string[]): Promise<SnapshotInfo>;

  /** Disk usage of an active or committed snapshot, its parents excluded. */
  usage(key: string): Promise<Usage>;

  /**
   * The mounts that show an active snapshot or a view.
   * @throws LayerfsError failed-precondition for a committed one
   */
  mounts(key: string): Promise<readonly Mount[]>;

  /**
   * Makes an active snapshot on a committed parent, or on nothing. Afterwards `mounts(key)` gives what this returned.
   * @throws LayerfsError invalid-argument when the parent is not committed
   */
  prepare(key: string, parent: string | undefined, options?: PrepareOptions): Promise<readonly Mount[]>;

  /** As `prepare`, but what is mounted cannot be written to, and the snapshot cannot be committed. */
  view(key: string, parent: string | undefined, options?: PrepareOptions): Promise<readonly Mount[]>;

  /**
   * Turns an active snapshot into a committed one; its key is free afterwards, its labels are those of the options. It
   * may still be mounted. Must not take longer for a larger layer: containerd holds its global write transaction.
   * @throws LayerfsError failed-precondition for a view
   */
  commit(name: string, key: string, options?: CommitOptions): Promise<void>;

  /**
   * Removes a snapshot of any kind.
   * @throws LayerfsError failed-precondition when others stand on it
   */
  remove(key: string): Promise<void>;

  /**
   * Calls `visit` for each snapshot that passes one of the filters (all without any); snapshots that change meanwhile
   * may or may not be seen. No lock is held while `visit` runs.
   * @throws LayerfsError invalid-argument for a filter that cannot be read
   */
  walk(visit: (info: SnapshotInfo) => void | Promise<void>, filters?: readonly string[]): Promise<void>;

  /** Frees the disk space of what was removed. */
  cleanup(): Promise<void>;

  /** Lets go of everything. Mounts stay. */
  close(): Promise<void>;
}
