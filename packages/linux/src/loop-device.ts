import { closeSync, openSync } from 'node:fs';
import { ErrnoError } from './error.js';
import { ioctl, ioctlInt } from './ioctl.js';

const LOOP_CTL_GET_FREE = 0x4c82;
const LOOP_CONFIGURE = 0x4c0a;
const READ_ONLY = 1;
const AUTOCLEAR = 4;
const BLOCK_SIZE = 4096;
/** struct loop_config: descriptor, block size, then struct loop_info64, of which only the flags (at 52) are set here. */
const CONFIG_SIZE = 304;
const FLAGS_AT = 8 + 52;
const TRIES = 64;

/** A block device over a file. */
export interface LoopDevice {
  readonly path: string;
  /** Lets go of it: the kernel frees the device when nothing has it mounted or open any more. */
  close(): void;
}

/** A read-only loop device (loop(4), Linux 5.8) over an open file. Throws ErrnoError; EACCES and ENOENT as Node does. */
export function loopDevice(file: number): LoopDevice {
  const control = openSync('/dev/loop-control', 'r+');
  try {
    for (let attempt = 1; ; attempt++) {
      const path = `/dev/loop${ioctlInt(control, LOOP_CTL_GET_FREE, 0)}`;
      const fd = openSync(path, 'r');
      try {
        const config = new DataView(new ArrayBuffer(CONFIG_SIZE));
        config.setUint32(0, file, true);
        config.setUint32(4, BLOCK_SIZE, true);
        config.setUint32(FLAGS_AT, READ_ONLY | AUTOCLEAR, true);
        ioctl(fd, LOOP_CONFIGURE, new Uint8Array(config.buffer));
        return { path, close: () => closeSync(fd) };
      } catch (error) {
        closeSync(fd);
        // Somebody else was quicker to take the free one.
        if (!(error instanceof ErrnoError) || error.code !== 'EBUSY' || attempt === TRIES) throw error;
      }
    }
  } finally {
    closeSync(control);
  }
}
