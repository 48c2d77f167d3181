import type { Kind, Labels, Mount, SnapshotInfo } from '../snapshotter.js';

/** Messages as @grpc/proto-loader gives them: absent fields have their defaults, 64-bit numbers are decimal strings. */
export interface KeyRequest {
  readonly key: string;
}

export interface PrepareRequest extends KeyRequest {
  readonly parent: string;
  readonly labels: Labels;
}

export interface CommitRequest extends PrepareRequest {
  readonly name: string;
}

export interface UpdateRequest {
  readonly info: InfoMessage | null;
  readonly update_mask: { readonly paths: readonly string[] } | null;
}

export interface ListRequest {
  readonly filters: readonly string[];
}

export interface MountsMessage {
  readonly mounts: readonly Mount[];
}

export interface Timestamp {
  readonly seconds: string;
  readonly nanos: number;
}

export interface InfoMessage {
  readonly name: string;
  readonly parent: string;
  readonly kind: number;
  readonly created_at: Timestamp | null;
  readonly updated_at: Timestamp | null;
  readonly labels: Labels;
}

const KINDS: Readonly<Record<Kind, number>> = { view: 1, active: 2, committed: 3 };
const BILLION = 1_000_000_000n;

/** What is known of a snapshot, as a message. */
export function infoMessage(info: SnapshotInfo): InfoMessage {
  return {
    name: info.name,
    parent: info.parent ?? '',
    kind: KINDS[info.kind],
    created_at: timestamp(info.created),
    updated_at: timestamp(info.updated),
    labels: info.labels,
  };
}

function timestamp(nanoseconds: bigint): Timestamp {
  return { seconds: String(nanoseconds / BILLION), nanos: Number(nanoseconds % BILLION) };
}
