/** A device as statx tells it. */
export interface Device {
  readonly major: number;
  readonly minor: number;
}

/** Room of one device. XFS, which has the largest real numbers, needs so many for 8 PiB. */
const ROOM = 2 ** 44;
/** So many devices fit below 2^52, with one more room for hashes. */
const MAX_DEVICES = 255;
const TWO_32 = 2 ** 32;

/**
 * Inode numbers of files from several devices in one number space: index of the device, sorted by number, times 2^44
 * plus the real inode number. So they are the real ones where there is one device, and stable across mounts where
 * the devices keep their order. What does not fit has a hash for its number, behind all devices.
 */
export class InoSpace {
  /** All numbers are below this. */
  readonly limit: number;
  readonly #index = new Map<number, number>();
  readonly #odd = new Map<string, number>();

  constructor(devices: readonly Device[]) {
    const numbers = new Set(devices.map(({ major, minor }) => major * TWO_32 + minor));
    const sorted = [...numbers].sort((a, b) => a - b).slice(0, MAX_DEVICES);
    for (const [index, device] of sorted.entries()) this.#index.set(device, index);
    this.limit = (sorted.length + 1) * ROOM;
  }

  /** The st_ino to show for a file. */
  shown(major: number, minor: number, inoLow: number, inoHigh: number): number {
    const exact = this.#exact(major, minor, inoLow, inoHigh);
    return exact ?? this.limit - ROOM + hash44(major, minor, inoLow, inoHigh);
  }

  /** A number that no other file has: unlike {@link shown} never a hash, but valid for this object's life only. */
  identity(major: number, minor: number, inoLow: number, inoHigh: number): number {
    const exact = this.#exact(major, minor, inoLow, inoHigh);
    if (exact !== undefined) return exact;
    const key = `${String(major)}:${String(minor)}:${String(inoHigh)}:${String(inoLow)}`;
    let number = this.#odd.get(key);
    if (number === undefined) {
      number = this.limit + this.#odd.size;
      this.#odd.set(key, number);
    }
    return number;
  }

  #exact(major: number, minor: number, inoLow: number, inoHigh: number): number | undefined {
    if (inoHigh >= ROOM / TWO_32) return undefined;
    const index = this.#index.get(major * TWO_32 + minor);
    return index === undefined ? undefined : index * ROOM + inoHigh * TWO_32 + inoLow;
  }
}

/** 44 bits out of four words, by the mixing steps of MurmurHash3 with two seeds. */
function hash44(...words: number[]): number {
  return mix(words, 0x2545f491) + (mix(words, 0x9e3779b9) & 0xfff) * TWO_32;
}

function mix(words: readonly number[], seed: number): number {
  let h = seed;
  for (const word of words) {
    let k = Math.imul(word, 0xcc9e2d51);
    k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    h ^= k;
    h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
