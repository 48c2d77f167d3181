/** Tells containerd which layers it need not unpack, for programs that do not ask. */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Client, credentials, loadPackageDefinition, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { LayerfsError, chainOf, type DiffID } from 'layerfs';
import { REMOTE } from '../snapshotter.js';

/** Where containerd is, and what it calls things. */
export interface OfferOptions {
  /** containerd's own socket. */
  readonly address: string;
  readonly namespace: string;
  /** What its configuration calls this snapshotter. */
  readonly snapshotter: string;
  /** For how long containerd keeps the layers without an image, in milliseconds. */
  readonly milliseconds: number;
}

/** How long containerd may take to answer, in milliseconds. */
const PATIENCE = 60_000;

/**
 * Makes containerd know the layers of an image of the store as unpacked: it asks containerd to prepare each, which asks the
 * snapshotter service, which has them. A lease of containerd's keeps them until an image is there that refers to them.
 * @param diffIDs base first
 * @returns ID of that lease
 * @throws LayerfsError failed-precondition when the service behind containerd does not have the layers; unavailable,
 * naming what containerd said
 */
export async function offerLayers(diffIDs: readonly DiffID[], options: OfferOptions): Promise<string> {
  const { address, namespace, snapshotter } = options;
  const leases = new Caller('leases', 'Leases', address);
  const snapshots = new Caller('snapshots', 'Snapshots', address);
  const lease = `layerfs-offer-${randomBytes(8).toString('hex')}`;
  const metadata = new Metadata();
  metadata.set('containerd-namespace', namespace);
  try {
    const expires = new Date(Date.now() + options.milliseconds).toISOString();
    await leases.call('Create', { id: lease, labels: { 'containerd.io/gc.expire': expires } }, metadata);
    metadata.set('containerd-lease', lease);
    let parent = '';
    for (const [i] of diffIDs.entries()) {
      const chain = chainOf(diffIDs.slice(0, i + 1));
      const key = `extract-${randomBytes(6).toString('hex')} ${chain}`;
      const code = await snapshots.call(
        'Prepare',
        { snapshotter, key, parent, labels: { [REMOTE]: chain } },
        metadata,
        [status.ALREADY_EXISTS],
      );
      if (code === status.OK) {
        await snapshots.call('Remove', { snapshotter, key }, metadata);
        const what = `the snapshotter ${snapshotter} at ${address} does not have layer ${diffIDs[i] ?? ''}`;
        throw new LayerfsError('failed-precondition', `${what}: does it use this store?`);
      }
      parent = chain;
    }
    return lease;
  } finally {
    leases.close();
    snapshots.close();
  }
}

type Answer = (error: ServiceError | null) => void;

/** Where containerd's service definitions lie. */
const PROTO = new URL('../../proto/', import.meta.url);

/** Calls methods of one of containerd's services. */
class Caller {
  readonly #client: Client;
  readonly #address: string;

  constructor(file: string, service: string, address: string) {
    const path = fileURLToPath(new URL(`${file}.proto`, PROTO));
    let found: unknown = loadPackageDefinition(loadSync(path, { keepCase: true, longs: String, defaults: true }));
    for (const name of ['containerd', 'services', file, 'v1', service])
      found = (found as Record<string, unknown>)[name];
    const Kind = found as new (address: string, how: ReturnType<typeof credentials.createInsecure>) => Client;
    this.#client = new Kind(`unix:${address}`, credentials.createInsecure());
    this.#address = address;
  }

  /** @returns OK, or one of the codes that are expected */
  call(method: string, request: object, metadata: Metadata, expected: readonly status[] = []): Promise<status> {
    return new Promise((done, fail) => {
      const answered: Answer = (error) => {
        if (error === null) done(status.OK);
        else if (expected.includes(error.code)) done(error.code);
        else fail(asLayerfsError(error, this.#address));
      };
      const methods = this.#client as unknown as Record<
        string,
        (request: object, metadata: Metadata, options: { deadline: number }, answered: Answer) => void
      >;
      methods[method]?.call(this.#client, request, metadata, { deadline: Date.now() + PATIENCE }, answered);
    });
  }

  close(): void {
    this.#client.close();
  }
}

function asLayerfsError(error: ServiceError, address: string): LayerfsError {
  return new LayerfsError('unavailable', `containerd at ${address}: ${error.details}`, { cause: error });
}
