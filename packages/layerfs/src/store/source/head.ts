import { LayerfsError } from '../../core/error.js';
import { sniffCompression, type Compression } from '../inflate/compression.js';
import { inflateHead } from '../inflate/inflate.js';

/** Raw bytes looked at before anything is decided; the first chunk of a pipe may be shorter. */
const RAW = 64 * 1024;
const ENOUGH = 64 * 1024;

/** A stream whose first bytes can be looked at before it is read. */
export class PeekedStream implements AsyncIterable<Uint8Array> {
  readonly head: Uint8Array;
  /** The stream ended within the head. */
  readonly whole: boolean;
  readonly #rest: AsyncIterator<Uint8Array>;

  private constructor(head: Uint8Array, whole: boolean, rest: AsyncIterator<Uint8Array>) {
    this.head = head;
    this.whole = whole;
    this.#rest = rest;
  }

  static async of(source: AsyncIterable<Uint8Array>): Promise<PeekedStream> {
    const iterator = source[Symbol.asyncIterator]();
    const parts: Uint8Array[] = [];
    let length = 0;
    while (length < RAW) {
      const { done, value } = await iterator.next();
      if (done === true) return new PeekedStream(Buffer.concat(parts), true, iterator);
      parts.push(value);
      length += value.length;
    }
    return new PeekedStream(Buffer.concat(parts), false, iterator);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      yield this.head;
      while (!this.whole) {
        const { done, value } = await this.#rest.next();
        if (done === true) return;
        yield value;
      }
    } finally {
      await this.#rest.return?.();
    }
  }
}

/** Recognises compression by a head and gives the first bytes of what is packed. @throws LayerfsError corrupt, unimplemented */
export function unpackHead(head: Uint8Array, whole: boolean): { compression: Compression; bytes: Uint8Array } {
  const compression = sniffCompression(head);
  if (compression === 'none') return { compression, bytes: head };
  const { bytes, error } = inflateHead(head, compression, ENOUGH);
  // A head that is not the whole ends too early, as it must.
  if (error !== undefined && whole && bytes.length === 0) {
    throw new LayerfsError('corrupt', `the input: ${compression} data is damaged or truncated (${error.message})`);
  }
  return { compression, bytes };
}
