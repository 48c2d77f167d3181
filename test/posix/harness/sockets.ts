/** Unix sockets with a name; a failure throws ErrnoError. */
import { check, native } from '../../../packages/linux/dist/library.js';
import { close } from './calls.js';

const f = {
  socket: native('int socket(int domain, int type, int protocol)'),
  bind: native('int bind(int fd, const void *address, uint32_t length)'),
  listen: native('int listen(int fd, int backlog)'),
  connect: native('int connect(int fd, const void *address, uint32_t length)'),
};
const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC = 0o2000001;

/** struct sockaddr_un. */
function address(path: string): Buffer {
  return Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(path), Buffer.from([0])]);
}

function socketAt(call: 'bind' | 'connect', path: string): number {
  const fd = check(f.socket(AF_UNIX, SOCK_STREAM_CLOEXEC, 0), 'socket');
  try {
    const bytes = address(path);
    check(f[call](fd, bytes, bytes.length), call, path);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** A new socket, bound to this name. */
export function bindUnix(path: string): number {
  return socketAt('bind', path);
}

/** A new socket, connected to the one of this name. */
export function connectUnix(path: string): number {
  return socketAt('connect', path);
}

export function listen(fd: number): void {
  check(f.listen(fd, 10), 'listen');
}
