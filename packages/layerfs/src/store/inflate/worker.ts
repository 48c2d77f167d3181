import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { createDecoder, type Decoder } from './decoder.js';
import type { SharedSlots, ThreadMessage, ThreadReply } from './thread.js';

/** The second thread: decompresses slots of input into slots of output, and blocks while all of those are filled. */
const slots = workerData as SharedSlots;
const free = new Int32Array(slots.free);
const count = slots.output.byteLength / slots.outputSlot;
const reply = (message: ThreadReply): void => parentPort?.postMessage(message);

let decoder: Decoder | undefined;
/** While the bytes are in the cache of this very processor. */
let hash = createHash('sha256');
let inputNext = 0;
let outputNext = 0;
/** Whether the slot at `outputNext` is ours to fill, and how far it is. */
let owned = false;
let filled = 0;

function emit(): void {
  hash.update(Buffer.from(slots.output, outputNext * slots.outputSlot, filled));
  reply({ kind: 'output', length: filled });
  outputNext = (outputNext + 1) % count;
  owned = false;
  filled = 0;
}

const sink = {
  room(): Uint8Array {
    if (!owned) {
      while (Atomics.load(free, 0) === 0) Atomics.wait(free, 0, 0);
      Atomics.sub(free, 0, 1);
      owned = true;
    }
    return Buffer.from(slots.output, outputNext * slots.outputSlot + filled, slots.outputSlot - filled);
  },
  advance(length: number): void {
    filled += length;
    if (filled === slots.outputSlot) emit();
  },
};

function take(length: number, last: boolean): void {
  const input = Buffer.from(slots.input, inputNext * slots.inputSlot, length);
  inputNext = (inputNext + 1) % (slots.input.byteLength / slots.inputSlot);
  if (decoder !== undefined) {
    try {
      decoder.push(input, last);
      if (last) end();
    } catch (error) {
      end(error instanceof Error ? error.message : String(error));
    }
  }
  reply({ kind: 'taken' });
}

function end(error?: string): void {
  decoder?.close();
  decoder = undefined;
  if (filled > 0) emit();
  reply({ kind: 'end', digest: hash.digest(), ...(error === undefined ? {} : { error }) });
}

parentPort?.on('message', (message: ThreadMessage) => {
  if ('begin' in message) {
    decoder = createDecoder(message.begin, sink);
    hash = createHash('sha256');
  } else take(message.length, message.last);
});
