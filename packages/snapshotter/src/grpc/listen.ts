import { chmodSync, chownSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname, resolve } from 'node:path';
import { LayerfsError } from 'layerfs';

/** A unix socket to make, and who may use it. */
export interface SocketPath {
  /** Where. One that nobody serves any more is replaced. */
  readonly path: string;
  /** Its permission bits; 0o600 without. */
  readonly mode?: number;
  /** ID of the group that it belongs to; the process's without. */
  readonly group?: number;
}

/** A socket that somebody else made and listens already, as systemd hands it over. */
export interface SocketDescriptor {
  readonly fd: number;
}

/** Where a service takes connections. */
export type ListenOn = SocketPath | SocketDescriptor;

/** Path lengths of unix sockets end here, with the closing NUL. */
const MAX_PATH = 108;
/** containerd has one connection. */
const MAX_CONNECTIONS = 256;
/** HTTP/2's greeting and the header of the settings that follow it. */
const PREFACE = 24 + 9;
const PREFACE_MILLISECONDS = 10_000;

/**
 * Listens, and hands on each connection. Those that do not begin to speak HTTP/2 are closed after a while.
 * @throws LayerfsError invalid-argument for a path that is too long, failed-precondition when something serves it already
 */
export async function listen(on: ListenOn, connected: (socket: Socket) => void): Promise<Server> {
  const server = createServer((socket) => {
    const timer = setTimeout(() => {
      if (socket.bytesRead < PREFACE) socket.destroy();
    }, PREFACE_MILLISECONDS).unref();
    socket.once('close', () => clearTimeout(timer));
    connected(socket);
  });
  server.maxConnections = MAX_CONNECTIONS;
  if ('fd' in on) {
    await listening(server, `descriptor ${on.fd}`, { fd: on.fd });
    return server;
  }
  const path = resolve(on.path);
  if (Buffer.byteLength(path) >= MAX_PATH) {
    throw new LayerfsError('invalid-argument', `The socket's path has more than ${MAX_PATH - 1} bytes: ${path}`);
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  await removeStale(path);
  // The socket must never be open to others, not even for a moment.
  const umask = process.umask(0o177);
  try {
    await listening(server, path, { path });
  } finally {
    process.umask(umask);
  }
  if (on.group !== undefined) chownSync(path, -1, on.group);
  chmodSync(path, on.mode ?? 0o600);
  return server;
}

function listening(server: Server, where: string, options: { path: string } | { fd: number }): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', (error) => {
      fail(new LayerfsError('unavailable', `Cannot listen on ${where}: ${error.message}`, { cause: error }));
    });
    server.listen(options, () => done());
  });
}

async function removeStale(path: string): Promise<void> {
  // As bigints: after a plain lstat of a socket, Node 20's realpathSync, and with it import(), goes wrong.
  const found = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  if (found === undefined) return;
  if (!found.isSocket()) throw new LayerfsError('failed-precondition', `${path} is there already and is no socket`);
  const refused = await new Promise<boolean>((done) => {
    const client = connect(path);
    client.once('connect', () => {
      client.destroy();
      done(false);
    });
    // Anything else, such as a queue that is full, is a sign of life.
    client.once('error', ({ code }: NodeJS.ErrnoException) => done(code === 'ECONNREFUSED' || code === 'ENOENT'));
  });
  if (!refused) throw new LayerfsError('failed-precondition', `${path} is served by another process`);
  rmSync(path, { force: true });
}
