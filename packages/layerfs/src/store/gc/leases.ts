/** Leases: what somebody outside needs is kept until a time, or until they give it back. */
import { randomBytes } from 'node:crypto';
import type { Digest, DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { shown } from '../../core/oci/json.js';
import type { StoreContext } from '../context.js';
import { findImage } from '../image/lookup.js';
import type { LeaseRecord } from '../meta.js';
import { snapshotRecord } from '../snapshot/snapshot.js';

/** A promise that something stays in the store. */
export interface Lease {
  readonly id: string;
  /** Who wants it and what for; may be empty. */
  readonly label: string;
  /** ISO 8601. */
  readonly created: string;
  /** ISO 8601. From then on it counts for nothing. */
  readonly expires: string;
  /** Manifest digests. All that the images consist of stays, also when they are removed by force. */
  readonly images: readonly Digest[];
  readonly layers: readonly DiffID[];
  /** Names of snapshots, which cannot be removed meanwhile. */
  readonly snapshots: readonly string[];
}

/** What to keep, and until when. */
export interface LeaseOptions {
  /** Names or IDs of images. */
  readonly images?: readonly string[];
  readonly layers?: readonly DiffID[];
  readonly snapshots?: readonly string[];
  /** Milliseconds from now, a point in time, or never: for what gives it back for certain. */
  readonly expires: number | Date | 'never';
  /** For people: who wants it and what for. */
  readonly label?: string;
  readonly signal?: AbortSignal;
}

/** Who forgets to give leases back, and to let them expire, fills the store: no lease is longer than a year. */
const LONGEST = 366 * 24 * 3600 * 1000;
const MAX_LABEL = 1024;
/** The end of time. */
const NEVER = '9999-12-31T23:59:59.999Z';

/** The leases of a store. */
export class Leases {
  readonly #context: StoreContext;

  constructor(context: StoreContext) {
    this.#context = context;
  }

  /**
   * Keeps things in the store until a time.
   * @throws LayerfsError not-found for what is not there; invalid-argument for a time that is over or too far, or for nothing to keep
   */
  async create(options: LeaseOptions): Promise<Lease> {
    const { images = [], layers = [], snapshots = [], label = '', signal } = options;
    if (images.length + layers.length + snapshots.length === 0) {
      throw new LayerfsError('invalid-argument', 'a lease needs something to keep');
    }
    if (label.length > MAX_LABEL)
      throw new LayerfsError('invalid-argument', `a label has at most ${MAX_LABEL} characters`);
    const expires = expiry(options.expires);
    const { meta, lock } = this.#context;
    // While nothing is removed: what is found is there when the lease is.
    return lock.shared(signal, () => {
      const record: LeaseRecord = {
        created: new Date().toISOString(),
        expires,
        label,
        images: images.map((ref) => findImage(meta, ref).record),
        layers: layers.map((diffID) => this.#layer(diffID)),
        snapshots: snapshots.map((name) => (snapshotRecord(meta, name), name)),
      };
      const id = randomBytes(8).toString('hex');
      meta.transaction((writer) => writer.setLease(id, record));
      return describe(id, record);
    });
  }

  /**
   * Moves a lease's end. One that has expired is as good as gone.
   * @throws LayerfsError not-found; invalid-argument for a time that is over or too far
   */
  async renew(id: string, options: { readonly expires: number | Date; readonly signal?: AbortSignal }): Promise<Lease> {
    const { meta, lock } = this.#context;
    const expires = expiry(options.expires);
    return lock.shared(options.signal, () =>
      meta.transaction((writer) => {
        const found = this.#find(id);
        if (isExpired(found)) throw notFound(id, 'has expired');
        const record = { ...found, expires };
        writer.setLease(id, record);
        return describe(id, record);
      }),
    );
  }

  /** Gives a lease back. What only it kept is for the next `gc`. @throws LayerfsError not-found */
  async release(id: string, options: { readonly signal?: AbortSignal } = {}): Promise<Lease> {
    const { meta, lock } = this.#context;
    return lock.shared(options.signal, () =>
      meta.transaction((writer) => {
        const record = this.#find(id);
        writer.setLease(id, undefined);
        return describe(id, record);
      }),
    );
  }

  /** All leases that have not expired, in the order of their IDs. */
  list(): Lease[] {
    return livingLeases(this.#context).map(({ id, lease }) => describe(id, lease));
  }

  #find(id: string): LeaseRecord {
    const record = /^[0-9a-f]{16}$/.test(id) ? this.#context.meta.lease(id) : undefined;
    if (record === undefined) throw notFound(id, 'is not in the store');
    return record;
  }

  #layer(diffID: DiffID): DiffID {
    if (this.#context.meta.layer(diffID) !== undefined) return diffID;
    throw new LayerfsError('not-found', `no layer ${shown(diffID)} in the store`);
  }
}

/** Leases that have not expired. */
export function livingLeases({ meta }: StoreContext): { id: string; lease: LeaseRecord }[] {
  return meta.leases().filter(({ lease }) => !isExpired(lease));
}

/** Removes the records of leases that have expired. @returns how many */
export function forgetExpired({ meta }: StoreContext): number {
  const expired = meta.leases().filter(({ lease }) => isExpired(lease));
  if (expired.length === 0) return 0;
  return meta.transaction((writer) => {
    let count = 0;
    for (const { id } of expired) {
      // Renewed just now.
      const record = meta.lease(id);
      if (record === undefined || !isExpired(record)) continue;
      writer.setLease(id, undefined);
      count++;
    }
    return count;
  });
}

function isExpired({ expires }: LeaseRecord): boolean {
  return !(Date.parse(expires) > Date.now());
}

function expiry(expires: number | Date | 'never'): string {
  if (expires === 'never') return NEVER;
  const now = Date.now();
  const time = typeof expires === 'number' ? now + expires : expires.getTime();
  if (!(time > now && time <= now + LONGEST)) {
    throw new LayerfsError('invalid-argument', 'a lease ends in the future, within a year');
  }
  return new Date(time).toISOString();
}

function describe(id: string, { images, ...record }: LeaseRecord): Lease {
  return { id, ...record, images: images.map(({ digest }) => digest) };
}

function notFound(id: string, why: string): LayerfsError {
  return new LayerfsError('not-found', `lease ${shown(id).replaceAll('"', '')} ${why}`);
}
