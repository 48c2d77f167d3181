import { ErrnoError, MOUNT_ATTR, MS, close, mount, mountDetached, moveMount } from '@layerfs/linux';
import type { WritablePlan } from '../server/plan.js';

/** An overlay of an EROFS image, whose files take their content from the objects. */
export interface OverlayPlan {
  /** What /proc/mounts shows as its source. */
  readonly source: string;
  /** Where the image is mounted. It may be unmounted as soon as the overlay stands. */
  readonly lower: string;
  /** The objects folder. */
  readonly objects: string;
  readonly mountpoint: string;
  readonly writable?: WritablePlan;
  readonly allowDevices: boolean;
  readonly allowSetuid: boolean;
}

/**
 * Mounts an overlay: with the mount API of Linux 6.8, which takes paths of any length and all characters, else with an option string.
 * The kernel looks at objects through a read-only mount of its own: nothing can write to one.
 * @throws ErrnoError
 */
export function mountOverlay(plan: OverlayPlan, newApi = true): void {
  const { writable, allowDevices, allowSetuid } = plan;
  if (newApi) {
    const attributes =
      (writable === undefined ? MOUNT_ATTR.RDONLY : 0) |
      (allowSetuid ? 0 : MOUNT_ATTR.NOSUID) |
      (allowDevices ? 0 : MOUNT_ATTR.NODEV);
    try {
      const layers = [['lowerdir+', plan.lower] as const, ['datadir+', plan.objects] as const];
      // Upper and work are taken for escaped here, too; lower layers are not.
      const rest = commonOptions(plan, (path) => path.replaceAll('\\', '\\\\'));
      const fd = mountDetached('overlay', [['source', plan.source], ...layers, ...rest], attributes);
      try {
        moveMount(fd, plan.mountpoint);
      } finally {
        close(fd);
      }
      return;
    } catch (error) {
      if (!isOldKernel(error)) throw error;
    }
  }
  const flags =
    (writable === undefined ? MS.RDONLY : 0) | (allowSetuid ? 0 : MS.NOSUID) | (allowDevices ? 0 : MS.NODEV);
  const lower = `lowerdir=${[plan.lower, plan.objects].map((path) => path.replaceAll(/[\\:,]/g, '\\$&')).join('::')}`;
  const rest = commonOptions(plan, (path) => path.replaceAll(/[\\,]/g, '\\$&'));
  const text = rest.map(([key, value]) => (value === undefined ? key : `${key}=${value}`));
  mount(plan.source, plan.mountpoint, 'overlay', flags, [lower, ...text].join(','));
}

/** A kernel that does not know fsopen(2), or not these parameters of overlayfs. */
function isOldKernel(error: unknown): boolean {
  if (!(error instanceof ErrnoError)) return false;
  return error.code === 'ENOSYS' || (error.code === 'EINVAL' && /(lowerdir|datadir)\+=/.test(error.path ?? ''));
}

function commonOptions(
  { writable }: OverlayPlan,
  escape: (path: string) => string,
): (readonly [key: string, value: string | undefined])[] {
  const marks = [['metacopy', 'on'] as const, ['redirect_dir', 'on'] as const];
  if (writable === undefined) return marks;
  const { upper, work, volatile } = writable;
  return [
    ['upperdir', escape(upper)],
    ['workdir', escape(work)],
    ...marks,
    // Inode numbers that stay, across both filesystems.
    ['xino', 'auto'],
    // A snapshot must be the same to whoever mounts it next.
    ['index', 'off'],
    ...(volatile ? [['volatile', undefined] as const] : []),
  ];
}
