export { BusyError } from './registry/detach.js';
export type { Holder } from './registry/holders.js';
export { cleanStale, findMount, listMounts } from './registry/mounts.js';
export type { ListedMount, MountInfo } from './registry/registry.js';
export { mount, spawnServer, type Mount } from './mount.js';
export type { MountOptions, MountSource, MountableImage } from './prepare.js';
export { unmount, type UnmountOptions } from './unmount.js';
export type { Check } from './doctor/check.js';
export type { Explanation, FileType, HiddenEntry, LayerEntry, LayerPlace } from './explain/explanation.js';
