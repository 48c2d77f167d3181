// What each command needs is not here, or not only, so that it starts without all the rest: at, lease, lock, memory, open, thread.
export { errno, errnoCode } from './errno.js';
export { ErrnoError } from './error.js';
export { loadLibrary, type Path } from './library.js';
export { adviseWillNeed, close, dup2, preadRaw, readRaw, setCloseOnExec, setNonBlocking, writeRaw } from './io.js';
export { AT, AT_FDCWD, O, RESOLVE, openat, openat2 } from './open.js';
export {
  RENAME,
  fchmodat,
  fchownat,
  linkat,
  makedev,
  mkdirat,
  mknodat,
  readlinkat,
  renameat2,
  symlinkat,
  unlinkat,
  futimens,
  utimensat,
  type Time,
} from './at.js';
export { statx, tryStatx, type Statx } from './stat.js';
export { StatView } from './stat-view.js';
export { DT, readDirents, type DirentVisitor } from './dirents.js';
export { getXattr, listXattrs, removeXattr, setXattr, type XattrTarget } from './xattr.js';
export {
  FALLOC,
  copyFileRange,
  copyFileRangeAt,
  copyFileRangeLater,
  fallocate,
  ficlone,
  fileSize,
  seekData,
  seekHole,
} from './copy.js';
export { ioctl, ioctlInt } from './ioctl.js';
export { syncfs, syncfsAsync } from './sync.js';
export { loopDevice, type LoopDevice } from './loop-device.js';
export { mountDetached } from './filesystem-context.js';
export { mapFile, type MappedFile } from './memory.js';
export { trimMappedPages } from './trim.js';
export { getProject, getProjectQuota, setProject, setProjectLimit, type ProjectQuota } from './quota.js';
export { withUserNamespace, type IdRun } from './user-namespace.js';
export { eventLoopFd } from './event-loop.js';
export { pipe, setPipeSize, spliceRaw } from './splice.js';
export { POLL, PollSet, eventfd } from './poll.js';
export { runnableTasks } from './load.js';
export { receiveFd, sendDatagram, sendFd, socketpair } from './socket.js';
export {
  MNT,
  MOUNT_ATTR,
  MS,
  mount,
  mountMapped,
  mountSetattr,
  moveMount,
  openReadOnlyClone,
  openTreeClone,
  umount2,
} from './mount.js';
