import type { Kind, Mount } from '../snapshotter.js';

/** The folders of a snapshot, for {@link planMounts}. */
export interface MountFolders {
  readonly kind: Exclude<Kind, 'committed'>;
  readonly fs: string;
  readonly work: string;
  /** `fs` of its parents, the nearest first. */
  readonly lowers: readonly string[];
}

/**
 * The mounts that show a snapshot. A base is a bind mount, and so is a view of a single layer; everything else is one
 * overlay, which containerd's differ understands when it has an upperdir: it then unpacks straight into that.
 * @param options what this kernel's overlayfs should be told, such as `index=off`
 */
export function planMounts({ kind, fs, work, lowers }: MountFolders, options: readonly string[]): Mount[] {
  const writable = kind === 'active';
  if (lowers.length === 0) return [bind(fs, writable)];
  if (!writable && lowers.length === 1) return [bind(lowers[0], false)];
  const own = writable ? [`workdir=${work}`, `upperdir=${fs}`] : [];
  return [{ type: 'overlay', source: 'overlay', options: [...options, ...own, `lowerdir=${lowers.join(':')}`] }];
}

function bind(source: string, writable: boolean): Mount {
  return { type: 'bind', source, options: [writable ? 'rw' : 'ro', 'rbind'] };
}
