import koffi from 'koffi';
import { check, native } from './library.js';

const socketpairFunction = native('int socketpair(int domain, int type, int protocol, void *fds)');
const recvmsgFunction = native('int64_t recvmsg(int fd, void *message, int flags)');
const sendmsgFunction = native('int64_t sendmsg(int fd, void *message, int flags)');
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** socketpair(2) of stream sockets. The descriptors are **not** close-on-exec: one end is meant for a child. */
export function socketpair(): [number, number] {
  const fds = new Int32Array(2);
  check(socketpairFunction(AF_UNIX, SOCK_STREAM, 0, fds), 'socketpair');
  return [fds[0], fds[1]];
}

/** struct msghdr (56 bytes on 64-bit Linux) over one byte of data and room for one descriptor. */
function message(data: Uint8Array, control: Uint8Array): { header: Uint8Array; keep: unknown[] } {
  const iovec = new BigUint64Array([koffi.address(data), BigInt(data.length)]);
  const header = new BigUint64Array(7);
  header[2] = koffi.address(iovec);
  header[3] = 1n;
  header[4] = koffi.address(control);
  header[5] = BigInt(control.length);
  return { header: new Uint8Array(header.buffer), keep: [iovec, header] };
}

/** Receives one descriptor sent with SCM_RIGHTS; undefined when the other end closed without sending one. Blocks. */
export function receiveFd(socket: number): number | undefined {
  const data = new Uint8Array(1);
  const control = new Uint8Array(24);
  const { header, keep } = message(data, control);
  const n = check(recvmsgFunction(socket, header, MSG_CMSG_CLOEXEC), 'recvmsg');
  void keep;
  const view = new DataView(control.buffer);
  const length = Number(new DataView(header.buffer).getBigUint64(40, true));
  if (n === 0 || length < 20) return undefined;
  if (view.getInt32(8, true) !== SOL_SOCKET || view.getInt32(12, true) !== SCM_RIGHTS) return undefined;
  return view.getInt32(16, true);
}

/** Sends one descriptor with SCM_RIGHTS and a byte of data. */
export function sendFd(socket: number, fd: number): void {
  const data = new Uint8Array(1);
  const control = new Uint8Array(24);
  const view = new DataView(control.buffer);
  view.setBigUint64(0, 20n, true);
  view.setInt32(8, SOL_SOCKET, true);
  view.setInt32(12, SCM_RIGHTS, true);
  view.setInt32(16, fd, true);
  const { header, keep } = message(data, control);
  check(sendmsgFunction(socket, header, 0), 'sendmsg');
  void keep;
}
