import { close, readRaw, setNonBlocking, socketpair, writeRaw } from '@layerfs/linux';
import { Connection } from './connection.js';
import type { FileSystem } from './filesystem.js';
import { Reply } from './wire/reply.js';
import { Request } from './wire/request.js';

/** Flags of INIT by bit, with the minor version that brought each (include/uapi/linux/fuse.h). */
const SINCE: readonly (readonly [bit: number, minor: number])[] = [
  ...[0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11].map((bit) => [bit, 18] as const),
  [12, 20],
  [13, 21],
  [14, 21],
  [15, 22],
  [16, 23],
  [17, 23],
  [18, 25],
  [19, 26],
  [20, 26],
  [21, 27],
  [22, 28],
  [23, 28],
  [24, 29],
  [25, 30],
  [27, 32],
  [28, 33],
  [29, 33],
  [30, 36],
  [32, 36],
  [33, 36],
  [34, 38],
  [35, 38],
  [36, 39],
  [37, 40],
  [38, 40],
  [39, 40],
  [40, 41],
  [41, 42],
  [42, 43],
];

/** What a kernel of a level offers when it offers all it has. */
export function offeredAt(minor: number): number[] {
  return SINCE.filter(([, since]) => since <= minor).map(([bit]) => bit);
}

/** One half of the flags. */
export function flagWord(bits: readonly number[], high: boolean): number {
  let word = 0;
  for (const bit of bits) if (bit >= 32 === high) word |= 1 << (bit & 31);
  return word >>> 0;
}

/** Numbers as they lie in a struct: `u32` and `u64` by turns of the pairs. */
export function struct(...fields: readonly (readonly [bytes: 4 | 8, value: number])[]): Buffer {
  return Buffer.concat(
    fields.map(([bytes, value]) => {
      const field = Buffer.alloc(bytes);
      if (bytes === 4) field.writeUInt32LE(value >>> 0);
      else field.writeBigInt64LE(BigInt(value));
      return field;
    }),
  );
}

/** The kernel's side of a mount, with a socket in place of /dev/fuse: one request at a time, in the server's own thread. */
export class FakeKernel {
  readonly connection: Connection;
  readonly errors: unknown[] = [];
  readonly #ours: number;
  readonly #theirs: number;
  readonly #request = new Request(Buffer.from(new ArrayBuffer(1 << 17)));
  readonly #reply = new Reply(1 << 17);
  #unique = 2 ** 33;

  constructor(fs: FileSystem) {
    [this.#ours, this.#theirs] = socketpair();
    for (const fd of [this.#ours, this.#theirs]) setNonBlocking(fd, true);
    this.connection = new Connection(this.#theirs, fs, { onError: (error) => this.errors.push(error) });
  }

  /** Asks without looking at what comes back. @returns what `serve` said */
  send(opcode: number, nodeid: number, ...body: readonly Uint8Array[]): number {
    const all = Buffer.concat(body);
    this.#unique += 2;
    const header = struct(
      [4, 40 + all.length],
      [4, opcode],
      [8, this.#unique],
      [8, nodeid],
      [4, 1000],
      [4, 100],
      [4, process.pid],
      [4, 0],
    );
    const bytes = Buffer.concat([header, all]);
    if (writeRaw(this.#ours, bytes, bytes.length) !== bytes.length) throw new Error('the socket is full');
    return this.connection.serve(this.#request, this.#reply);
  }

  /** What came back, header checked; undefined when nothing did. */
  receive(): { readonly error: number; readonly body: Buffer } | undefined {
    const bytes = Buffer.alloc(1 << 17);
    const n = readRaw(this.#ours, bytes, bytes.length);
    if (n < 0) return undefined;
    // Notifications come before the answer; they are to none.
    let at = 0;
    while (n - at > 16 && bytes.readBigUInt64LE(at + 8) === 0n) at += bytes.readUInt32LE(at);
    if (n - at !== bytes.readUInt32LE(at))
      throw new Error(`an answer of ${n - at} bytes says that it has ${bytes.readUInt32LE(at)}`);
    if (bytes.readBigUInt64LE(at + 8) !== BigInt(this.#unique)) throw new Error('an answer to another request');
    return { error: bytes.readInt32LE(at + 4), body: bytes.subarray(at + 16, n) };
  }

  /** Asks, and gives the answer; the error's negative number when it is one. */
  ask(opcode: number, nodeid: number, ...body: readonly Uint8Array[]): Buffer | number {
    this.send(opcode, nodeid, ...body);
    const answer = this.receive();
    if (answer === undefined) throw new Error(`no answer to opcode ${opcode}`);
    return answer.error === 0 ? answer.body : answer.error;
  }

  /** INIT as a kernel of this level sends it: of 16 bytes before 7.36, of 64 since. */
  init(major: number, minor: number, offered: readonly number[]): Buffer | number {
    const short = struct([4, major], [4, minor], [4, 131072], [4, flagWord(offered, false)]);
    if (minor < 36) return this.ask(26, 0, short);
    return this.ask(26, 0, short, struct([4, flagWord(offered, true)]), Buffer.alloc(44));
  }

  /** Ends both sides; `ended`: DESTROY did not close ours already. */
  close(): void {
    this.connection.close();
    close(this.#ours);
  }
}
