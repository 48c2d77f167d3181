/** `records-user.js FILE count|open|once SECONDS`: uses a store's records for some time, and prints how often. */
import { Meta } from '../crash/internals.js';

type Digest = Parameters<InstanceType<typeof Meta>['lastUsed']>[0];

const IMAGE = `sha256:${'0'.repeat(64)}` as unknown as Digest;
const [file, what, seconds] = process.argv.slice(2);
const end = Date.now() + Number(seconds) * 1000;
let times = 0;

/** Each transaction finds what the one before it wrote. */
function count(): void {
  const meta = new Meta(file);
  while (Date.now() < end) {
    meta.transaction((writer) => {
      const found = meta.lastUsed(IMAGE) ?? 0;
      if (found !== times) throw new Error(`${times} transactions were done, and ${found} are left`);
      writer.setUsed(IMAGE, ++times);
    });
  }
  meta.close();
}

function open(): void {
  for (; Date.now() < end; times++) new Meta(file).close();
}

function once(): void {
  const meta = new Meta(file);
  meta.transaction((writer) => writer.setUsed(IMAGE, ++times));
  meta.close();
}

if (what === 'count') count();
else if (what === 'open') open();
else once();
process.stdout.write(String(times));
process.stdout.write(String(times));
