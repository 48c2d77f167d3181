import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { unlessUnsupported } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file } from '../../harness/fixtures.js';
import { Random, SEEDS } from '../../harness/random.js';

/** Random changes of one file, beside the same changes of a buffer: every look at the file must agree with that. */
export const randomContents = new Family('random content');
const { add } = randomContents;
const { O } = sys;
const { FALLOC } = content;
const LIMIT = 200_000;
const STEPS = 200;

const prepare = (): void => file('x', { content: new Random(1).text(50_000) + new Random(2).text(20_001) });

class Model {
  bytes = Buffer.from(new Random(1).text(50_000) + new Random(2).text(20_001));

  resize(size: number): void {
    const next = Buffer.alloc(size);
    this.bytes.copy(next);
    this.bytes = next;
  }

  put(text: Buffer, at: number): void {
    if (at + text.length > this.bytes.length) this.resize(at + text.length);
    text.copy(this.bytes, at);
  }

  text(from = 0, length = this.bytes.length): string {
    return this.bytes.toString('latin1', from, Math.min(from + length, this.bytes.length));
  }
}

type Step = (random: Random, fd: number, model: Model) => void;

const STEPS_OF_CALLS: readonly [string, Step][] = [
  [
    'pwrite',
    (r, fd, m) => {
      const [text, at] = [r.text(1 + r.below(20_000)), r.below(LIMIT - 20_000)];
      content.pwrite(fd, text, at);
      m.put(Buffer.from(text), at);
    },
  ],
  [
    'append',
    (r, _, m) => {
      const text = r.text(1 + r.below(5000));
      if (m.bytes.length + text.length > LIMIT) return;
      content.overwrite('x', text, O.WRONLY | O.APPEND);
      m.put(Buffer.from(text), m.bytes.length);
    },
  ],
  [
    'truncate',
    (r, _, m) => {
      const size = r.below(LIMIT);
      content.truncate('x', size);
      m.resize(size);
    },
  ],
  [
    'ftruncate',
    (r, fd, m) => {
      const size = r.below(LIMIT);
      content.ftruncate(fd, size);
      m.resize(size);
    },
  ],
  [
    'punch',
    (r, fd, m) => {
      const [at, length] = [r.below(LIMIT), 1 + r.below(30_000)];
      unlessUnsupported('holes', () => content.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, at, length));
      m.bytes.fill(0, Math.min(at, m.bytes.length), Math.min(at + length, m.bytes.length));
    },
  ],
  [
    'fallocate',
    (r, fd, m) => {
      const [at, length] = [r.below(LIMIT - 30_000), 1 + r.below(30_000)];
      content.fallocate(fd, 0, at, length);
      if (at + length > m.bytes.length) m.resize(at + length);
    },
  ],
  [
    'copy',
    (r, fd, m) => {
      const half = Math.floor(m.bytes.length / 2);
      const [from, length] = [r.below(half + 1), r.below(half + 1)];
      if (from + length > half || length === 0) return;
      const done = content.copyFileRange(fd, fd, length, from, half);
      m.put(Buffer.from(m.bytes.subarray(from, from + done)), half);
    },
  ],
  ['chmod', (r) => sys.chmod('x', r.pick([0o600, 0o644]))],
  ['fsync', (_, fd) => content.fdatasync(fd)],
  ['rename', () => (sys.rename('x', 'y'), sys.rename('y', 'x'))],
  [
    'read',
    (r, fd, m) => {
      const [at, length] = [r.below(LIMIT), 1 + r.below(50_000)];
      assert.ok(content.pread(fd, length, at) === m.text(at, length), `read of ${String(length)} at ${String(at)}`);
    },
  ],
  [
    'size',
    (_, fd, m) => {
      assert.deepEqual([sys.fstat(fd).size, sys.stat('x').size], [m.bytes.length, m.bytes.length]);
    },
  ],
  ['read anew', (_, __, m) => assert.ok(content.readFile('x') === m.text(), 'content')],
];

const MAPPED: [string, Step] = [
  'map',
  (r, fd, m) => {
    if (m.bytes.length === 0) return;
    const map = new content.Mapping(fd, m.bytes.length, content.PROT.READ | content.PROT.WRITE, content.MAP.SHARED);
    try {
      const at = r.below(m.bytes.length);
      assert.ok(map.read(at, Math.min(5000, m.bytes.length - at)) === m.text(at, 5000), 'mapped content');
      const text = r.text(Math.min(1 + r.below(5000), m.bytes.length - at));
      map.write(at, text);
      m.put(Buffer.from(text), at);
    } finally {
      map.unmap();
    }
  },
];

/** `reader`: looks also through a descriptor for reading that was opened first, before any change. */
function runSeed(seed: number, calls: readonly [string, Step][], reader: boolean): void {
  const random = new Random(seed);
  const model = new Model();
  const early = sys.open('x', O.RDONLY);
  let fd = sys.open('x', O.RDWR);
  const history: string[] = [];
  try {
    for (let i = 0; i < STEPS; i++) {
      const [name, step] = random.pick(calls);
      history.push(name);
      try {
        step(random, fd, model);
        if (reader && i % 10 === 0) assert.ok(content.pread(early, LIMIT, 0) === model.text(), 'the early descriptor');
      } catch (cause) {
        throw new Error(`${String(i)} steps: ${history.slice(-8).join(', ')}: ${String(cause)}`, { cause });
      }
      if (random.below(20) === 0) {
        sys.close(fd);
        fd = sys.open('x', O.RDWR);
      }
    }
  } finally {
    sys.close(fd);
    sys.close(early);
  }
  assert.ok(content.readFile('x') === model.text(), 'content in the end');
}

for (const seed of SEEDS) {
  add(`seed ${String(seed)}`, { prepare }, () => runSeed(seed, STEPS_OF_CALLS, false));
  add(`with an early reader, seed ${String(seed)}`, { prepare }, () => runSeed(seed, STEPS_OF_CALLS, true));
  add(`with mappings, seed ${String(seed)}`, { prepare }, () =>
    runSeed(seed, [...STEPS_OF_CALLS, MAPPED, MAPPED], false),
  );
}
