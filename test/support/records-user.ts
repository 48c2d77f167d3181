/** `records-user.js FOLDER count|open|once SECONDS`: uses a store's records for some time, and prints how often. */
import { Meta } from '../crash/internals.js';

type Digest = Parameters<InstanceType<typeof Meta>['lastUsed']>[0];

const IMAGE = `sha256:${'0'.repeat(64)}` as unknown as Digest;
const [folder, what, seconds] = process.argv.slice(2);
const end = Date.now() + Number(seconds) * 1000;
let times = 0;

/** Each transaction finds what the one before it wrote. */
async function count(): Promise<void> {
  const meta = new Meta(folder);
  while (Date.now() < end) {
    meta.transaction((writer) => {
      const found = meta.lastUsed(IMAGE) ?? 0;
      if (found !== times) throw new Error(`${times} transactions were done, and ${found} are left`);
      writer.setUsed(IMAGE, ++times);
    });
  }
  await meta.close();
}

async function open(): Promise<void> {
  for (; Date.now() < end; times++) await new Meta(folder).close();
}

async function once(): Promise<void> {
  const meta = new Meta(folder);
  meta.transaction((writer) => writer.setUsed(IMAGE, ++times));
  await meta.close();
}

await (what === 'count' ? count() : what === 'open' ? open() : once());
process.stdout.write(String(times));
process.stdout.write(String(times));
