import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Server, ServerCredentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { LayerfsError } from 'layerfs';
import type { Snapshotter } from '../snapshotter.js';
import { handlers, type Answered } from './handlers.js';

export type { Answered } from './handlers.js';

/** How to serve a snapshotter. */
export interface ServeOptions {
  /** Path of the unix socket. One that nobody serves any more is replaced. */
  readonly socket: string;
  /** Told of each request when it was answered. */
  readonly onAnswered?: (request: Answered) => void;
}

/** A snapshotter that is being served. */
export interface Service {
  /** Takes no more requests, and waits for those under way; after `patience` milliseconds they are cut off. */
  stop(patience?: number): Promise<void>;
}

/** Path lengths of unix sockets end here, with the closing NUL. */
const MAX_SOCKET = 108;
/** containerd's limit on a message. */
const MAX_MESSAGE = 16 << 20;

/**
 * Serves a snapshotter to containerd: `containerd.services.snapshots.v1.Snapshots` on a unix socket that its owner alone
 * may use.
 * @throws LayerfsError invalid-argument for a path that is too long, failed-precondition when something serves it already
 */
export async function serve(snapshotter: Snapshotter, options: ServeOptions): Promise<Service> {
  const socket = resolve(options.socket);
  if (Buffer.byteLength(socket) >= MAX_SOCKET) {
    throw new LayerfsError('invalid-argument', `The socket's path has more than ${MAX_SOCKET - 1} bytes: ${socket}`);
  }
  mkdirSync(dirname(socket), { recursive: true, mode: 0o711 });
  await removeStale(socket);
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE,
    'grpc.max_send_message_length': MAX_MESSAGE,
  });
  server.addService(service(), handlers(snapshotter, options.onAnswered ?? (() => undefined)));
  // The socket must never be open to others, not even for a moment.
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((done, fail) => {
      server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) => {
        if (error === null) done();
        else fail(new LayerfsError('unavailable', `Cannot listen on ${socket}: ${error.message}`, { cause: error }));
      });
    });
  } finally {
    process.umask(umask);
  }
  chmodSync(socket, 0o600);
  return {
    stop: (patience = 10_000) =>
      new Promise((done) => {
        const timer = setTimeout(() => server.forceShutdown(), patience);
        server.tryShutdown(() => {
          clearTimeout(timer);
          rmSync(socket, { force: true });
          done();
        });
      }),
  };
}

async function removeStale(socket: string): Promise<void> {
  const found = lstatSync(socket, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new LayerfsError('failed-precondition', `${socket} is there already and is no socket`);
  const served = await new Promise<boolean>((done) => {
    const client = connect(socket);
    client.once('connect', () => {
      client.destroy();
      done(true);
    });
    client.once('error', () => done(false));
  });
  if (served) throw new LayerfsError('failed-precondition', `${socket} is served by another process`);
  rmSync(socket, { force: true });
}

function service(): ServiceClientConstructor['service'] {
  const file = fileURLToPath(new URL('../../proto/snapshots.proto', import.meta.url));
  const definition = loadSync(file, { keepCase: true, longs: String, defaults: true, oneofs: true });
  const loaded = loadPackageDefinition(definition) as unknown as {
    readonly containerd: {
      readonly services: { readonly snapshots: { readonly v1: { readonly Snapshots: ServiceClientConstructor } } };
    };
  };
  return loaded.containerd.services.snapshots.v1.Snapshots.service;
}
