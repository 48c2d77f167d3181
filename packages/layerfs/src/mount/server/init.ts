import { ENDED, Reply, Request, type Connection } from '@layerfs/fuse';
import { POLL, PollSet } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';

const BUFFER = 1 << 17;
const LIMIT_MILLIS = 30_000;

/**
 * Answers the kernel's first request, INIT, which it sends as soon as a file system is mounted; whatever else comes
 * waits until there is a loop.
 * @throws LayerfsError unavailable when none comes, or the kernel is too old
 */
export function answerInit(connection: Connection): void {
  const request = new Request(Buffer.from(new ArrayBuffer(BUFFER)));
  const reply = new Reply(BUFFER);
  const poll = new PollSet();
  poll.add(connection.fd, POLL.IN);
  const deadline = Date.now() + LIMIT_MILLIS;
  while (connection.negotiated === undefined) {
    if (Date.now() > deadline) throw new LayerfsError('unavailable', 'The kernel sent no first FUSE request');
    poll.wait(1000);
    const result = connection.serve(request, reply);
    if (connection.refusal !== undefined) throw new LayerfsError('unavailable', connection.refusal);
    if (result === ENDED)
      throw new LayerfsError('unavailable', 'The kernel took the mount away before its first request');
  }
}
