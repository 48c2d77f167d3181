/** A gRPC client of a service on a unix socket, for tests. */
import { fileURLToPath } from 'node:url';
import {
  Client,
  credentials,
  loadPackageDefinition,
  type ClientReadableStream,
  type Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';

type Constructor = new (address: string, with_: typeof INSECURE, options: object) => Client;
const INSECURE = credentials.createInsecure();
const OPTIONS = { keepCase: true, longs: String, enums: String, defaults: true };

function constructor(file: string, path: readonly string[]): Constructor {
  let found: unknown = loadPackageDefinition(loadSync(file, OPTIONS));
  for (const name of path) found = (found as Record<string, unknown>)[name];
  return found as Constructor;
}

const Snapshots = constructor(fileURLToPath(new URL('../../proto/snapshots.proto', import.meta.url)), [
  'containerd',
  'services',
  'snapshots',
  'v1',
  'Snapshots',
]);
const Health = constructor(protoPath, ['grpc', 'health', 'v1', 'Health']);

/** The messages of a stream. */
type Stream = ClientReadableStream<Record<string, unknown>>;

/** Calls methods by their names. */
export class TestClient {
  readonly #clients: readonly Client[];

  constructor(socket: string) {
    const options = { 'grpc.max_receive_message_length': 16 << 20, 'grpc.use_local_subchannel_pool': 1 };
    this.#clients = [Snapshots, Health].map((Kind) => new Kind(`unix:${socket}`, INSECURE, options));
  }

  /** Rejects with the ServiceError, of which `code` and `details` tell. */
  call(method: string, request: object = {}, metadata?: Metadata): Promise<Record<string, unknown>> {
    return new Promise((done, fail) => {
      const answered = (error: ServiceError | null, response: Record<string, unknown>): void => {
        if (error === null) done(response);
        else fail(error);
      };
      this.#method(method)(request, ...(metadata === undefined ? [] : [metadata]), answered);
    });
  }

  /** The messages of a stream. */
  stream(method: string, request: object = {}): Stream {
    return this.#method(method)(request) as Stream;
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  #method(name: string): (...args: unknown[]) => unknown {
    const client = this.#clients.find(
      (each) => typeof (each as unknown as Record<string, unknown>)[name] === 'function',
    );
    if (client === undefined) throw new Error(`there is no method ${name}`);
    return (client as unknown as Record<string, (...args: unknown[]) => unknown>)[name].bind(client);
  }
}
