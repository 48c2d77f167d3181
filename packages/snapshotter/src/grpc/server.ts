import { fileURLToPath } from 'node:url';
import { Server, ServerCredentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { HealthImplementation } from 'grpc-health-check';
import type { Snapshotter } from '../snapshotter.js';
import { handlers, type Answered } from './handlers.js';
import { listen, type ListenOn } from './listen.js';

export type { Answered } from './handlers.js';

/** How to serve a snapshotter. */
export interface ServeOptions {
  readonly on: ListenOn;
  /** Told of each request when it was answered. */
  readonly onAnswered?: (request: Answered) => void;
}

/** A snapshotter that is being served. */
export interface Service {
  /** Takes no more requests, and waits for those under way; after `patience` milliseconds they are cut off. */
  stop(patience?: number): Promise<void>;
}

const NAME = 'containerd.services.snapshots.v1.Snapshots';
/** containerd's limit on a message that it reads. */
const MAX_SENT = 16 << 20;
/** A key, a parent and a snapshot's labels are far less. Times streams and connections this bounds the memory. */
const MAX_RECEIVED = 1 << 20;
/** At once, on one connection; clients wait with more. */
const MAX_STREAMS = 128;
/**
 * How often a client has to show that it still speaks HTTP/2, and how long it may take. After a frame that makes no sense, HTTP/2 says
 * goodbye and waits for the other side to close, which a hostile one does not; half a frame is waited for as well.
 */
const KEEPALIVE_MS = 10_000;
const KEEPALIVE_PATIENCE_MS = 10_000;
/** What was answered is given so long to be read. */
const FLUSH_MILLISECONDS = 250;

/**
 * Serves a snapshotter to containerd: `containerd.services.snapshots.v1.Snapshots`, and `grpc.health.v1.Health`, on a unix
 * socket that its owner alone may use unless told otherwise.
 * @throws LayerfsError invalid-argument for a path that is too long, failed-precondition when something serves it already
 */
export async function serve(snapshotter: Snapshotter, { on, onAnswered }: ServeOptions): Promise<Service> {
  const server = new Server({
    'grpc.max_receive_message_length': MAX_RECEIVED,
    'grpc.max_send_message_length': MAX_SENT,
    'grpc.max_concurrent_streams': MAX_STREAMS,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_PATIENCE_MS,
    // Its statistics have to be on: without them grpc-js 1.14 does not know of its connections when it is shut down.
    'grpc.enable_channelz': 1,
  });
  let underWay = 0;
  let onIdle = (): void => undefined;
  const events = {
    began: (): void => void underWay++,
    answered: (request: Answered): void => {
      if (--underWay === 0) onIdle();
      onAnswered?.(request);
    },
  };
  server.addService(service(), handlers(snapshotter, events));
  const health = new HealthImplementation({ '': 'SERVING', [NAME]: 'SERVING' });
  health.addToServer(server);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = await listen(on, (socket) => injector.injectConnection(socket));
  return {
    stop: (patience = 10_000) =>
      new Promise((done) => {
        // This takes away the socket's name, too.
        listener.close();
        for (const name of ['', NAME]) health.setStatus(name, 'NOT_SERVING');
        // Whoever watches our health would else be waited for.
        const cutOff = (milliseconds: number): NodeJS.Timeout => setTimeout(() => server.forceShutdown(), milliseconds);
        const timers = [cutOff(patience)];
        onIdle = () => void timers.push(cutOff(FLUSH_MILLISECONDS));
        if (underWay === 0) onIdle();
        server.tryShutdown(() => {
          for (const timer of timers) clearTimeout(timer);
          done();
        });
      }),
  };
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
