import { check, native } from './library.js';

const ioctlBytes = native('int ioctl(int fd, unsigned long request, void *argument)');
const ioctlNumber = native('int ioctl(int fd, unsigned long request, intptr_t argument)');

/** ioctl(2) whose argument is memory, read and written in place. Returns the call's result. Throws ErrnoError. */
export function ioctl(fd: number, request: number, argument: Uint8Array): number {
  return check(ioctlBytes(fd, request, argument), 'ioctl');
}

/** ioctl(2) whose argument is a number. */
export function ioctlInt(fd: number, request: number, argument: number): number {
  return check(ioctlNumber(fd, request, argument), 'ioctl');
}
