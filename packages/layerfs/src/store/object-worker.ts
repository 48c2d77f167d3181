import { parentPort, workerData } from 'node:worker_threads';
import { writeObject } from './object-file.js';
import { RECORD_HEADER, type BatchMessage, type BatchReply } from './object-thread.js';

/** The second thread of an import: writes the objects of each batch it is given. */
const { folder, objects } = workerData as { folder: string; objects: string };

parentPort?.on('message', ({ batch, length }: BatchMessage) => {
  const bytes = Buffer.from(batch as unknown as ArrayBuffer);
  let count = 0;
  let written = 0;
  let failure: BatchReply['error'];
  try {
    for (let at = 0; at < length;) {
      const hex = bytes.toString('latin1', at, at + 64);
      const size = bytes.readUInt32LE(at + 64);
      const start = at + RECORD_HEADER;
      if (writeObject(folder, objects, hex, bytes.subarray(start, start + size))) {
        count++;
        written += size;
      }
      at = start + size;
    }
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    failure = { message, code };
  }
  const reply: BatchReply = {
    batch,
    objects: count,
    bytes: written,
    ...(failure === undefined ? {} : { error: failure }),
  };
  parentPort?.postMessage(reply);
});
