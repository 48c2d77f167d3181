import type { Kind, Mount } from '../snapshotter.js';

/** What a snapshot is made of, for {@link planMounts}. */
export interface MountPlan {
  readonly kind: Exclude<Kind, 'committed'>;
  readonly fs: string;
  readonly work: string;
  /** `fs` of parents, the nearest first. */
  readonly folders: readonly string[];
  /** Below those: a folder that shows layers of the store. */
  readonly base?: string;
  /** Where that one's files have their content from. */
  readonly objects?: string;
}

/**
 * The mounts that show a snapshot. A base is a bind mount, and so is a view of a single folder; everything else is one
 * overlay, which containerd's differ understands when it has an upperdir: it then unpacks straight into that.
 * @param options what this kernel's overlayfs should be told, such as `index=off`
 */
export function planMounts(plan: MountPlan, options: readonly string[]): Mount[] {
  const { kind, fs, work, folders, base, objects } = plan;
  const writable = kind === 'active';
  const lowers = base === undefined ? folders : [...folders, base];
  if (lowers.length === 0) return [bind(fs, writable)];
  if (!writable && lowers.length === 1 && objects === undefined) return [bind(lowers[0], false)];
  const own = writable ? [`workdir=${work}`, `upperdir=${fs}`] : [];
  // An upper that was written over layers of the store may hold files without content of their own: whatever shows it later must know.
  const marks = base === undefined ? [] : ['metacopy=on', 'redirect_dir=on'];
  const lower = `${lowers.join(':')}${objects === undefined ? '' : `::${objects}`}`;
  return [{ type: 'overlay', source: 'overlay', options: [...options, ...marks, ...own, `lowerdir=${lower}`] }];
}

/** Longest lowerdir that mount(2) surely takes beside all else, in bytes: containerd cannot shorten one with data-only layers. */
export const LONGEST_LOWERDIR = 3072;

function bind(source: string, writable: boolean): Mount {
  return { type: 'bind', source, options: [writable ? 'rw' : 'ro', 'rbind'] };
}
