import { ErrnoError } from './error.js';
import { check, nativeSyscall } from './library.js';
import { ioctl } from './ioctl.js';

const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
/** struct fsxattr: flags, extent size, extents, project, and what is not used here. */
const FSXATTR_SIZE = 28;
const PROJECT_AT = 12;
/** What is made in a folder has the folder's project. */
const PROJINHERIT = 0x200;

/** The project that a file or folder is counted for; 0: none. @throws ErrnoError ENOTTY or EOPNOTSUPP where there are none */
export function getProject(fd: number): number {
  const attributes = new Uint8Array(FSXATTR_SIZE);
  ioctl(fd, FS_IOC_FSGETXATTR, attributes);
  return new DataView(attributes.buffer).getUint32(PROJECT_AT, true);
}

/** Counts a folder, and what is made in it from now on, for a project. @throws ErrnoError EOPNOTSUPP where there are none */
export function setProject(fd: number, project: number): void {
  const attributes = new Uint8Array(FSXATTR_SIZE);
  ioctl(fd, FS_IOC_FSGETXATTR, attributes);
  const view = new DataView(attributes.buffer);
  view.setUint32(0, view.getUint32(0, true) | PROJINHERIT, true);
  view.setUint32(PROJECT_AT, project, true);
  ioctl(fd, FS_IOC_FSSETXATTR, attributes);
}

/** What a project uses, and how much it may. */
export interface ProjectQuota {
  /** Bytes; a multiple of 1024; 0: as many as there are. */
  readonly limit: number;
  readonly bytes: number;
  readonly inodes: number;
}

// The number is the same on every architecture.
const quotactlFd = nativeSyscall(443, 'uint32_t fd, uint32_t command, uint32_t id, void *quota');
const PROJECT = 2;
const Q_GETQUOTA = 0x800007;
const Q_SETQUOTA = 0x800008;
/** struct if_dqblk: limits in KiB, space in bytes, inodes, times, and which of them count. */
const DQBLK_SIZE = 72;
const VALID_AT = 64;
/** Both limits on space. */
const QIF_BLIMITS = 1;

/**
 * quotactl_fd(2) (Linux 5.14) of a project on the filesystem of a descriptor.
 * @throws ErrnoError ESRCH where quotas of projects are not switched on, ENOSYS where the kernel has none
 */
export function getProjectQuota(fd: number, project: number): ProjectQuota {
  const quota = new Uint8Array(DQBLK_SIZE);
  try {
    check(quotactlFd(fd, command(Q_GETQUOTA), project, quota), 'quotactl_fd');
  } catch (error) {
    // XFS knows of none with this number.
    if (!(error instanceof ErrnoError) || error.code !== 'ENOENT') throw error;
  }
  const view = new DataView(quota.buffer);
  const at = (index: number): number => Number(view.getBigUint64(index * 8, true));
  return { limit: at(0) * 1024, bytes: at(2), inodes: at(5) };
}

/** Lets a project have so many bytes, rounded up to KiB; 0: as many as there are. Errors as of {@link getProjectQuota}. */
export function setProjectLimit(fd: number, project: number, bytes: number): void {
  const quota = new Uint8Array(DQBLK_SIZE);
  const view = new DataView(quota.buffer);
  const blocks = BigInt(Math.ceil(bytes / 1024));
  view.setBigUint64(0, blocks, true);
  view.setBigUint64(8, blocks, true);
  view.setUint32(VALID_AT, QIF_BLIMITS, true);
  check(quotactlFd(fd, command(Q_SETQUOTA), project, quota), 'quotactl_fd');
}

function command(operation: number): number {
  return ((operation << 8) | PROJECT) >>> 0;
}
