// One of several processes that use a store at the same time: ROOT LAYOUTS COUNT SECONDS SEED FOLDER MAY-MOUNT.
// It prints how often it did what, as JSON; an error that nobody may see ends it with code 1.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const { openStore, mount, checkStore, LayerfsError } = await import('../../packages/layerfs/dist/index.js');
const [root, layouts, count, seconds, seed, folder, mayMount] = process.argv.slice(2);

let state = Number(seed);
/** xorshift: the same seed does the same, as far as the others let it. */
function random(below) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

const done = {};
const refused = {};
const image = () => random(Number(count));
const name = (number) => `image-${number}:latest`;

function check(text, number) {
  if (text !== `image ${number}\n`) throw new Error(`image ${number} says ${JSON.stringify(text)}`);
}

async function content(store, number) {
  const parts = [];
  const file = await store.readFile(name(number), '/id');
  for await (const part of file.content) parts.push(part);
  check(Buffer.concat(parts).toString(), number);
}

/** Everything that an operation may end with but success. */
const actions = {
  async import(store) {
    const number = image();
    await store.import(join(layouts, `${number}`), { name: name(number) });
    return [];
  },
  async cancelledImport(store) {
    const number = image();
    const signal = AbortSignal.timeout(random(20));
    await store.import(join(layouts, `${number}`), { name: name(number), signal });
  },
  remove: (store) => store.removeImage(name(image())),
  force: (store) => store.removeImage(name(image()), { force: true }),
  gc: (store) => store.gc({ dryRun: random(4) === 0 }),
  cancelledGc: (store) => store.gc({ signal: AbortSignal.timeout(random(30)) }),
  async fsck() {
    const { problems } = await checkStore(root);
    // What a removal that was cancelled, or is under way, has not come to yet is litter.
    const worse = problems.filter(({ severity }) => severity !== 'litter');
    if (worse.length > 0) throw new Error(`the store is damaged: ${JSON.stringify(worse)}`);
  },
  usage: (store) => store.usage(),
  list: (store) => store.images().map(({ digest }) => digest),
  read: (store) => content(store, image()),
  async export(store) {
    const number = image();
    const out = join(folder, `export-${random(1e9)}`);
    try {
      await store.export(name(number), out);
    } finally {
      rmSync(out, { recursive: true, force: true });
    }
  },
  async checkout(store) {
    const number = image();
    const out = mkdtempSync(join(folder, 'checkout-'));
    try {
      await store.checkout(name(number), out);
      check(readFileSync(join(out, 'id'), 'utf8'), number);
    } finally {
      rmSync(out, { recursive: true, force: true });
    }
  },
  async snapshot(store) {
    const number = image();
    const snapshot = `s-${process.pid}-${random(1e9)}`;
    await store.createSnapshot(name(number), { name: snapshot });
    try {
      const { tree } = await store.snapshotTree(snapshot);
      if (tree.inodeCount < 2) throw new Error('an empty tree');
    } finally {
      await store.removeSnapshot(snapshot);
    }
  },
  async lease(store) {
    const number = image();
    const lease = await store.leases.create({ images: [name(number)], expires: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, random(50)));
    const [digest] = lease.images;
    const found = store.images().find((each) => each.digest === digest);
    try {
      if (found !== undefined) await store.export(digest.slice(7), join(folder, `lease-${lease.id}`));
    } finally {
      rmSync(join(folder, `lease-${lease.id}`), { recursive: true, force: true });
      await store.leases.release(lease.id);
    }
  },
  async mount(store) {
    if (mayMount !== 'yes') return;
    const number = image();
    const point = mkdtempSync(join(folder, 'mount-'));
    try {
      const mounted = await mount(store, name(number), point);
      try {
        check(readFileSync(join(point, 'id'), 'utf8'), number);
        for (const each of readdirSync(join(point, 'files'))) readFileSync(join(point, 'files', each));
      } finally {
        await mounted.unmount({ lazy: true });
        await mounted.finished;
      }
    } finally {
      rmSync(point, { recursive: true, force: true });
    }
  },
};

/** By code: which operations may meet it. What is not here is a fault. */
const EXPECTED = {
  'not-found': ['remove', 'force', 'read', 'export', 'checkout', 'snapshot', 'lease', 'mount'],
  // Another check is running.
  'failed-precondition': ['remove', 'fsck'],
  aborted: ['cancelledImport', 'cancelledGc'],
};

const names = Object.keys(actions).flatMap((each) => Array.from({ length: each === 'import' ? 6 : 1 }, () => each));
mkdirSync(folder, { recursive: true });
let store = await openStore({ root });
const end = Date.now() + Number(seconds) * 1000;
while (Date.now() < end) {
  const what = names[random(names.length)];
  try {
    await actions[what](store);
    done[what] = (done[what] ?? 0) + 1;
  } catch (error) {
    const code = error instanceof LayerfsError ? error.code : undefined;
    const gone = what === 'lease' && code === 'not-found';
    if (!gone && EXPECTED[code]?.includes(what) !== true) {
      console.error(what, error);
      process.exit(1);
    }
    refused[`${what}: ${code}`] = (refused[`${what}: ${code}`] ?? 0) + 1;
  }
  if (random(20) === 0) {
    await store.close();
    store = await openStore({ root });
  }
}
await store.close();
console.log(JSON.stringify({ done, refused }));
