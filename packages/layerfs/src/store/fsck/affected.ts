import type { DiffID } from '../../core/digest.js';
import type { Comparison } from './compare.js';
import type { Finding } from './problem.js';

/** Says of findings which images they affect. */
export class Affected {
  readonly #byLayer = new Map<string, Set<string>>();
  readonly #byBlob = new Map<string, Set<string>>();
  readonly #byChain = new Map<string, Set<string>>();
  readonly #bySnapshot = new Map<string, string>();
  readonly #byImage = new Map<string, Set<string>>();
  readonly #byObject: ReadonlyMap<string, readonly DiffID[]>;

  /** @param findings those that will be asked for: object lists are gone through once for all */
  constructor({ images, records, lists }: Comparison, findings: readonly Finding[]) {
    for (const { record, labels } of images) {
      for (const label of labels) {
        for (const { diffID, digest } of record.layers) {
          add(this.#byLayer, diffID.slice(7), label);
          add(this.#byBlob, digest.slice(7), label);
        }
        for (const digest of [record.digest, record.config]) add(this.#byBlob, digest.slice(7), label);
        add(this.#byChain, record.chainID.slice(7), label);
        add(this.#byImage, record.digest.slice(7), label);
      }
    }
    for (const [name, { id }] of records.snapshots) this.#bySnapshot.set(id, `snapshot ${name}`);
    const wanted = new Map<string, DiffID[]>();
    for (const { path } of findings) {
      const hex = objectIn(path);
      if (hex !== undefined) wanted.set(hex, []);
    }
    this.#byObject = wanted;
    if (wanted.size === 0) return;
    for (const [diffID, list] of lists.byLayer) {
      for (let i = 0; i < list.count; i++) wanted.get(list.hex(i))?.push(diffID);
    }
  }

  /** The layers that hold an object, of one that was asked for. */
  layersOf(hex: string): readonly DiffID[] {
    return this.#byObject.get(hex) ?? [];
  }

  images({ path }: Finding): string[] {
    const object = objectIn(path);
    if (object !== undefined) {
      return sorted(this.layersOf(object).flatMap((diffID) => [...(this.#byLayer.get(diffID.slice(7)) ?? [])]));
    }
    const [, place, key] = /^(?:meta:)?(layers|blobs|chains|images|snapshots|names|leases)\/(.*)$/.exec(path) ?? [];
    if (place === undefined) return [];
    if (place === 'names') return [key];
    if (place === 'leases') return [`lease ${key}`];
    const id = key.replace(/^sha256[:/]/, '').split('/')[0];
    if (place === 'snapshots') {
      if (path.startsWith('meta:')) return [`snapshot ${key}`];
      const name = this.#bySnapshot.get(id);
      return name === undefined ? [] : [name];
    }
    const maps = { layers: this.#byLayer, blobs: this.#byBlob, chains: this.#byChain, images: this.#byImage };
    return sorted(maps[place as keyof typeof maps].get(id) ?? []);
  }
}

/** The 64 hex digits of the object that a finding is about. */
export function objectIn(path: string): string | undefined {
  const [, first, rest] = /^(?:meta:)?objects\/([0-9a-f]{2})\/?([0-9a-f]{62})$/.exec(path) ?? [];
  return first === undefined ? undefined : first + rest;
}

function add(map: Map<string, Set<string>>, key: string, label: string): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, new Set([label]));
  else known.add(label);
}

function sorted(labels: Iterable<string>): string[] {
  return [...new Set(labels)].toSorted();
}
