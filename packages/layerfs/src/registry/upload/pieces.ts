import { LayerfsError } from '../../core/error.js';

/** Cuts a stream into pieces of given lengths, and gets the next one while the last one is being sent. */
export class Pieces {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #what: string;
  #rest: Uint8Array = new Uint8Array();
  #next: { readonly length: number; readonly bytes: Promise<Uint8Array> } | undefined;

  constructor(source: AsyncIterable<Uint8Array>, what: string) {
    this.#source = source[Symbol.asyncIterator]();
    this.#what = what;
  }

  /**
   * The next `length` bytes.
   * @param following how many will be asked for after these; 0 where none
   * @throws LayerfsError corrupt where there are not so many
   */
  async take(length: number, following: number): Promise<Uint8Array> {
    const ready = this.#next;
    this.#next = undefined;
    const bytes = ready?.length === length ? await ready.bytes : await this.#read(length);
    // The end of the stream tells whether all of it was right.
    if (following === 0) await this.#end();
    else {
      const next = this.#read(following);
      // Told when it is asked for.
      next.catch(() => undefined);
      this.#next = { length: following, bytes: next };
    }
    return bytes;
  }

  /** Lets go of the stream. */
  async close(): Promise<void> {
    await this.#next?.bytes.catch(() => undefined);
    await this.#source.return?.();
  }

  async #end(): Promise<void> {
    const next = this.#rest.length > 0 ? { done: false } : await this.#source.next();
    if (next.done !== true) throw new LayerfsError('corrupt', `${this.#what} has more bytes than it should`);
  }

  async #read(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let have = 0;
    while (have < length) {
      if (this.#rest.length === 0) {
        const { done, value } = await this.#source.next();
        if (done === true) throw new LayerfsError('corrupt', `${this.#what} ends ${length - have} bytes early`);
        this.#rest = value;
        continue;
      }
      const part = this.#rest.subarray(0, length - have);
      this.#rest = this.#rest.subarray(part.length);
      parts.push(part);
      have += part.length;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }
}
