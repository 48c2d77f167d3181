import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { compareVersions, withoutKernelMounts, type Check } from './check.js';

/**
 * The kernel's filesystems that kernel mounts stand on.
 * @param fuse whether FUSE can be mounted
 */
export function filesystemChecks(fuse: boolean): Check[] {
  return [overlay(fuse), erofs(fuse)];
}

function filesystems(): Set<string> {
  const lines = readFileSync('/proc/filesystems', 'utf8').split('\n');
  return new Set(lines.map((line) => line.split('\t')[1] ?? ''));
}

function overlay(fuse: boolean): Check {
  const name = 'Kernel overlayfs';
  if (!filesystems().has('overlay')) {
    return {
      name,
      ok: 'warn',
      detail: 'Not loaded or not in this kernel.',
      use: withoutKernelMounts(fuse),
      hint: 'modprobe overlay',
    };
  }
  const defaults = overlayDefaults();
  const on = defaults === undefined ? '' : ` On by default: ${defaults === '' ? 'none of its features' : defaults}.`;
  return compareVersions(release(), '6.5') >= 0
    ? {
        name,
        ok: true,
        detail: `Available, with data-only layers (since 6.5).${on}`,
        use: 'Kernel mounts stand on it; each says itself which features it wants.',
      }
    : {
        name,
        ok: 'warn',
        detail: `Available, but without data-only layers (6.5 brought them).${on}`,
        use: withoutKernelMounts(fuse),
        hint: 'A newer kernel.',
      };
}

/** Features of overlayfs that are on where nobody says; undefined while it is not loaded. */
function overlayDefaults(): string | undefined {
  const folder = '/sys/module/overlay/parameters';
  if (!existsSync(folder)) return undefined;
  const features = ['redirect_dir', 'index', 'metacopy', 'xino_auto', 'nfs_export'];
  const isOn = (feature: string): boolean => {
    const file = join(folder, feature);
    return existsSync(file) && readFileSync(file, 'utf8').trim() === 'Y';
  };
  return features.filter(isOn).join(', ');
}

function erofs(fuse: boolean): Check {
  const name = 'EROFS';
  if (!filesystems().has('erofs')) {
    return {
      name,
      ok: 'warn',
      detail: 'Not loaded or not in this kernel.',
      use: withoutKernelMounts(fuse),
      hint: 'modprobe erofs',
    };
  }
  return compareVersions(release(), '6.12') >= 0
    ? {
        name,
        ok: true,
        detail: 'Available, and mounts from plain files (since 6.12).',
        use: 'Kernel mounts stand on it.',
      }
    : {
        name,
        ok: 'warn',
        detail: 'Available, but needs a loop device (6.12 brought mounts from plain files).',
        use: 'Kernel mounts take a loop device for each image.',
        hint: 'A newer kernel; until then enough loop devices (modprobe loop max_loop=256).',
      };
}
