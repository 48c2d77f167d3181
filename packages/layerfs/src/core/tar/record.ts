/**
 * The tar record: what is needed besides the objects to give back a layer's tar bit for bit. Format: docs/tar-record.md.
 *
 * It is a row of frames. A frame holds operations and the literal bytes they copy; each can be decoded on its own, so
 * neither writing nor reading needs more memory than one frame.
 */
import { LayerfsError } from '../error.js';

/** format: do not change. "LFSTARR1" */
export const RECORD_MAGIC = Uint8Array.of(0x4c, 0x46, 0x53, 0x54, 0x41, 0x52, 0x52, 0x31);
/** Bytes of a frame's header: lengths of operations, literals and compressed payload, reserved, xxh64 of the payload. */
export const FRAME_HEADER = 24;
/** A frame is closed when its payload reaches this; a literal may not be larger. */
export const FRAME_SIZE = 1 << 20;
/** No sound frame's payload is larger, so nothing larger is ever allocated. */
export const MAX_FRAME = 4 << 20;

/** One piece of the tar. `literal` is valid until the next operation is asked for. */
export type RecordOperation =
  | { readonly kind: 'literal'; readonly bytes: Uint8Array }
  | { readonly kind: 'object'; readonly index: number; readonly offset: number; readonly length: number };

/** Gathers operations; the caller takes a frame's payload whenever `full` says so, and at the end. */
export class RecordWriter {
  #operations = new Uint8Array(1 << 16);
  #operationsLength = 0;
  #literals = new Uint8Array(FRAME_SIZE * 2);
  #literalsLength = 0;
  /** Literal bytes that no operation stands for yet. */
  #run = 0;

  /** Whether the frame should be taken now. */
  get full(): boolean {
    return this.#literalsLength + this.#operationsLength >= FRAME_SIZE;
  }

  get empty(): boolean {
    return this.#literalsLength === 0 && this.#operationsLength === 0;
  }

  /** Adds bytes of the tar that are no content. At most FRAME_SIZE at once, and not while `full`. */
  literal(bytes: Uint8Array): void {
    this.#literals.set(bytes, this.#literalsLength);
    this.#literalsLength += bytes.length;
    this.#run += bytes.length;
  }

  /** Adds a range of an object, by its index in the layer's object list. */
  object(index: number, offset: number, length: number): void {
    this.#flushRun();
    this.#varint(index * 2 + 1);
    this.#varint(offset);
    this.#varint(length);
  }

  /** Ends the frame: its operations and literals, in one piece, valid until the next call. */
  take(): { payload: Uint8Array; operations: number; literals: number } {
    this.#flushRun();
    const payload = new Uint8Array(this.#operationsLength + this.#literalsLength);
    payload.set(this.#operations.subarray(0, this.#operationsLength));
    payload.set(this.#literals.subarray(0, this.#literalsLength), this.#operationsLength);
    const taken = { payload, operations: this.#operationsLength, literals: this.#literalsLength };
    this.#operationsLength = 0;
    this.#literalsLength = 0;
    return taken;
  }

  #flushRun(): void {
    if (this.#run === 0) return;
    const run = this.#run;
    this.#run = 0;
    this.#varint(run * 2);
  }

  /** LEB128: seven bits a byte, lowest first. */
  #varint(value: number): void {
    if (this.#operationsLength + 10 > this.#operations.length) {
      const grown = new Uint8Array(this.#operations.length * 2);
      grown.set(this.#operations);
      this.#operations = grown;
    }
    let rest = value;
    while (rest >= 0x80) {
      this.#operations[this.#operationsLength++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#operations[this.#operationsLength++] = rest;
  }
}

/** The operations of one frame's payload. @throws LayerfsError corrupt */
export function* readFrame(payload: Uint8Array, operations: number): Generator<RecordOperation> {
  let at = 0;
  let literal = operations;
  const varint = (): number => {
    let value = 0;
    let scale = 1;
    for (;;) {
      if (at >= operations || scale > 2 ** 49) throw new LayerfsError('corrupt', 'tar record: a number is malformed');
      const byte = payload[at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      scale *= 0x80;
    }
    if (!Number.isSafeInteger(value)) throw new LayerfsError('corrupt', 'tar record: a number is out of range');
    return value;
  };
  // eslint-disable-next-line no-unmodified-loop-condition -- varint() moves `at`
  while (at < operations) {
    const head = varint();
    if (head % 2 === 1) yield { kind: 'object', index: (head - 1) / 2, offset: varint(), length: varint() };
    else {
      const length = head / 2;
      if (length > payload.length - literal) throw new LayerfsError('corrupt', 'tar record: literals end too early');
      yield { kind: 'literal', bytes: payload.subarray(literal, literal + length) };
      literal += length;
    }
  }
  if (literal !== payload.length) throw new LayerfsError('corrupt', 'tar record: literals that nothing uses');
}
