export {
  Connection,
  ENDED,
  systemErrno,
  type ConnectionHooks,
  type KernelSide,
  type ServedRequest,
} from './connection.js';
export type { Caller, FileSystem, LockRequest, SetAttr } from './filesystem.js';
export { Loop, type LoopResult } from './loop.js';
export { opcodeName } from './opcodes.js';
export { MountError, type MountErrorCode } from './transport/error.js';
export { findFusermount, mountWithHelper, unmountWithHelper } from './transport/fusermount.js';
export { checkMountpoint, mountKernel, openDevice, unmountKernel } from './transport/kernel.js';
export type { MountOptions } from './transport/options.js';
export { Attr } from './wire/attr.js';
export { FATTR, FOPEN, INIT, KERNEL_MINOR_VERSION, ROOT_ID } from './wire/constants.js';
export type { InitOptions, Negotiated } from './wire/init.js';
export { Reply, type Lock, type Statfs } from './wire/reply.js';
export { Request } from './wire/request.js';
