/** A process that reads a store's whole database, to see whether it can be read: argument is its folder. */
import { open } from 'lmdb';

// Not read-only: lmdb 3.5 crashes so.
const env = open({ path: process.argv[2] ?? '', maxDbs: 16, overlappingSync: false });
try {
  for (const name of env.getKeys()) {
    const table = env.openDB<Buffer, Buffer>(String(name), { encoding: 'binary', keyEncoding: 'binary' });
    // Reading is all there is to do.
    for (const { value } of table.getRange()) void value.length;
  }
} finally {
  await env.close();
}
