import { LayerfsError } from 'layerfs';
import { shown, type SnapshotRecord } from './records.js';
import type { SnapshotInfo } from './snapshotter.js';

/** What is told of a snapshot. */
export function infoOf({ kind, name, parent, labels, created, updated: changed }: SnapshotRecord): SnapshotInfo {
  return {
    kind,
    name,
    ...(parent === undefined ? {} : { parent }),
    labels,
    created: BigInt(created),
    updated: BigInt(changed),
  };
}

/** Nanoseconds since 1970, in decimal; later than `after`. */
export function now(after?: string): string {
  const time = BigInt(Math.floor((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
  const least = after === undefined ? 0n : BigInt(after) + 1n;
  return String(time > least ? time : least);
}

/** A record's labels with some of them changed. @throws LayerfsError invalid-argument for another field */
export function updated(
  record: SnapshotRecord,
  labels: SnapshotInfo['labels'],
  fields: readonly string[],
): SnapshotInfo['labels'] {
  const changed = new Map(Object.entries(record.labels));
  for (const field of fields) {
    if (field === 'labels') {
      changed.clear();
      for (const [key, value] of Object.entries(labels)) changed.set(key, value);
    } else if (field.startsWith('labels.')) {
      const key = field.slice('labels.'.length);
      const value = Object.hasOwn(labels, key) ? labels[key] : '';
      // As containerd does it: an empty value takes the label away.
      if (value === '') changed.delete(key);
      else changed.set(key, value);
    } else throw new LayerfsError('invalid-argument', `The field ${shown(field)} cannot be changed`);
  }
  return Object.fromEntries(changed);
}
