import koffi from 'koffi';
import { isMainThread } from 'node:worker_threads';

/**
 * The descriptor that becomes readable when Node's own event loop has something to do (uv_backend_fd of libuv, which
 * node exports for embedders): lets code that blocks the main thread in poll(2) know when to give Node a turn.
 * Timers do not show on it. Throws in a worker thread, whose loop cannot be named.
 */
export function eventLoopFd(): number {
  if (!isMainThread) throw new Error('eventLoopFd() is for the main thread');
  const node = koffi.load(null);
  const loop: unknown = node.func('void *uv_default_loop(void)')();
  return node.func('int uv_backend_fd(const void *loop)')(loop) as number;
}
