/** What systemd and a service tell each other: sd_listen_fds(3) and sd_notify(3). */
import { readlinkSync } from 'node:fs';
import { sendDatagram, setCloseOnExec } from '@layerfs/linux';
import { LayerfsError } from 'layerfs';

/** SD_LISTEN_FDS_START */
const FIRST = 3;

/**
 * The socket that systemd listens on for us, or undefined. Takes what says so out of the environment: it is not meant for
 * the processes that we start.
 * @throws LayerfsError invalid-argument when there are several sockets, or none where one should be
 */
export function activatedSocket(env: NodeJS.ProcessEnv = process.env): number | undefined {
  const { LISTEN_PID: pid, LISTEN_FDS: fds } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  if (pid !== String(process.pid) || fds === undefined || fds === '0') return undefined;
  if (fds !== '1') {
    throw new LayerfsError('invalid-argument', `LISTEN_FDS is ${JSON.stringify(fds)}: one socket is wanted`);
  }
  // Not fstat: after one of a socket, Node 20's realpathSync stops at the first folder it knows, and modules that are loaded
  // then are looked for in wrong places.
  let isSocket = false;
  try {
    isSocket = readlinkSync(`/proc/self/fd/${FIRST}`).startsWith('socket:');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  if (!isSocket) {
    throw new LayerfsError('invalid-argument', `LISTEN_FDS promises a socket, but descriptor ${FIRST} is none`);
  }
  setCloseOnExec(FIRST, true);
  return FIRST;
}

/**
 * Tells systemd how the service fares, such as `READY=1`; nothing where nobody asked for it.
 * @throws ErrnoError when it cannot be told
 */
export function notify(state: string, env: NodeJS.ProcessEnv = process.env): void {
  const socket = env['NOTIFY_SOCKET'];
  if (socket !== undefined && /^[/@]/.test(socket)) sendDatagram(socket, Buffer.from(state));
}
