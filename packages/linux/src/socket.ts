import koffi from 'koffi';
import { errno } from './errno.js';
import { ErrnoError } from './error.js';
import { close } from './io.js';
import { check, native } from './library.js';

const socketpairFunction = native('int socketpair(int domain, int type, int protocol, void *fds)');
const recvmsgFunction = native('int64_t recvmsg(int fd, void *message, int flags)');
const sendmsgFunction = native('int64_t sendmsg(int fd, void *message, int flags)');
const socketFunction = native('int socket(int domain, int type, int protocol)');
const sendtoFunction = native(
  'int64_t sendto(int fd, const void *data, size_t length, int flags, const void *address, unsigned int addressLength)',
);
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of struct sockaddr_un. */
const MAX_PATH = 108;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;
// Sizes on 64-bit Linux, in bytes.
const HEADER = 56;
const IOVEC = 16;
const CONTROL = 24;
/** struct cmsghdr and one descriptor, without padding. */
const CMSG_LENGTH = 20;

/** socketpair(2) of stream sockets. The descriptors are **not** close-on-exec: one end is meant for a child. */
export function socketpair(): [number, number] {
  const fds = new Int32Array(2);
  check(socketpairFunction(AF_UNIX, SOCK_STREAM, 0, fds), 'socketpair');
  return [fds[0], fds[1]];
}

/**
 * struct msghdr (56 bytes on 64-bit Linux), iovec, room for one descriptor and one byte of data, in one piece of memory:
 * the kernel follows addresses in it, so that all of it must live as long as the header that is passed to the call.
 */
class Message {
  readonly view = new DataView(new ArrayBuffer(HEADER + IOVEC + CONTROL + 8));
  readonly bytes = new Uint8Array(this.view.buffer);

  constructor() {
    const start = koffi.address(this.view.buffer);
    const control = HEADER + IOVEC;
    this.view.setBigUint64(16, start + BigInt(HEADER), true);
    this.view.setBigUint64(24, 1n, true);
    this.view.setBigUint64(32, start + BigInt(control), true);
    this.view.setBigUint64(40, BigInt(CONTROL), true);
    this.view.setBigUint64(HEADER, start + BigInt(control + CONTROL), true);
    this.view.setBigUint64(HEADER + 8, 1n, true);
  }
}

/** Receives one descriptor sent with SCM_RIGHTS; undefined when the other end closed without sending one. Blocks. */
export function receiveFd(socket: number): number | undefined {
  const { view, bytes } = new Message();
  const n = check(recvmsgFunction(socket, bytes, MSG_CMSG_CLOEXEC), 'recvmsg');
  const at = HEADER + IOVEC;
  if (n === 0 || Number(view.getBigUint64(40, true)) < CMSG_LENGTH) return undefined;
  if (view.getInt32(at + 8, true) !== SOL_SOCKET || view.getInt32(at + 12, true) !== SCM_RIGHTS) return undefined;
  return view.getInt32(at + 16, true);
}

/** Sends one descriptor with SCM_RIGHTS and a byte of data. */
export function sendFd(socket: number, fd: number): void {
  const { view, bytes } = new Message();
  const at = HEADER + IOVEC;
  view.setBigUint64(at, BigInt(CMSG_LENGTH), true);
  view.setInt32(at + 8, SOL_SOCKET, true);
  view.setInt32(at + 12, SCM_RIGHTS, true);
  view.setInt32(at + 16, fd, true);
  check(sendmsgFunction(socket, bytes, 0), 'sendmsg');
}

/**
 * Sends one datagram to a unix socket, without waiting. A path that begins with `@` is a name in the abstract namespace, as
 * systemd writes it. Throws ErrnoError (ECONNREFUSED or ENOENT when nobody listens, ENAMETOOLONG, EAGAIN when it is full).
 */
export function sendDatagram(path: string, data: Uint8Array): void {
  const name = Buffer.from(path);
  if (name.length >= MAX_PATH) throw new ErrnoError(errno.ENAMETOOLONG, 'sendto', path);
  if (path.startsWith('@')) name[0] = 0;
  // A path ends with NUL, an abstract name with the address.
  const address = Buffer.alloc(2 + name.length + (path.startsWith('@') ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = check(socketFunction(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket');
  try {
    check(sendtoFunction(fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length), 'sendto', path);
  } finally {
    close(fd);
  }
}
