/** The thread in which a {@link Verifier} hashes large objects. workerData is a {@link VerifierThread}. */
import { closeSync, constants, openSync } from 'node:fs';
import { ownThread } from '@layerfs/linux/thread';
import {
  hashDescriptor,
  signatureOf,
  wakeUp,
  type HashReply,
  type HashRequest,
  type VerifierThread,
} from './verifier.js';

const thread = ownThread<VerifierThread>();
const { port, wake } = thread.data;

function hash({ path, id }: HashRequest): HashReply {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const before = signatureOf(fd);
    const hex = hashDescriptor(fd, () => !thread.ending);
    return { id, hex, before, after: signatureOf(fd) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    return { id, hex: undefined, before: '', after: '' };
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

port.on('message', (request: HashRequest) => {
  if (!thread.begin()) return;
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
  port.postMessage(hash(request));
  wakeUp(wake);
  thread.rest();
});
thread.rest();
