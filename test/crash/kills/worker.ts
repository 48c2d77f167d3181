/**
 * `worker.js ROOT SOURCES`: does commands to a store, one a line on standard input, and answers each with a line: `done`, or
 * `failed CODE MESSAGE`. It is there to be killed.
 */
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { openStore } from 'layerfs';
import { writeFileSync } from 'node:fs';

const [root, sources] = process.argv.slice(2);
const store = await openStore({ root });

async function command(what: string, first: string, second: string): Promise<void> {
  if (what === 'import') await store.import(join(sources, first), { name: second });
  else if (what === 'rmi') await store.removeImage(first);
  else if (what === 'gc') await store.gc();
  else if (what === 'snapshot') await store.createSnapshot(first, { name: second });
  else if (what === 'rm') await store.removeSnapshot(first);
  else {
    writeFileSync(join(store.snapshot(first).upper, second), second);
    await store.commit(first, second);
  }
}

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [what, first, second] = line.split(' ');
  try {
    await command(what, first, second);
    process.stdout.write('done\n');
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    process.stdout.write(`failed ${code} ${String(message).replaceAll('\n', ' ')}\n`);
  }
}
await store.close();
