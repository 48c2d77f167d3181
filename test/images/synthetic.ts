/** Images made to measure limits: streamed, never held in memory, the same bytes in each build. */
import { Readable } from 'node:stream';
import { noise, TIME } from './odd-lower.js';
import { padding, tarEntry, tarOf } from './tar.js';

/** Gathers small pieces into chunks of about a MiB, so that a million headers are not a million stream events. */
function* gathered(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for (const piece of pieces) {
    parts.push(piece);
    size += piece.length;
    if (size < 1 << 20) continue;
    yield Buffer.concat(parts, size);
    parts = [];
    size = 0;
  }
  yield Buffer.concat([...parts, new Uint8Array(1024)]);
}

function tarStream(pieces: Iterable<Uint8Array>): Readable {
  return Readable.from(gathered(pieces), { objectMode: false });
}

/** Entries of the folder /big in `million`; each 1,000th has content, the rest are empty. */
export const MILLION = 1_000_000;

function* millionEntries(): Generator<Uint8Array> {
  yield* tarEntry({ name: 'big/', mode: 0o755, mtime: TIME });
  for (let index = 0; index < MILLION; index++) {
    const name = `big/entry-${String(index).padStart(7, '0')}`;
    yield* tarEntry({ name, mtime: TIME + (index % 1000), data: index % 1000 === 0 ? `content ${index}\n` : '' });
  }
}

/** The size of /big.bin in `bigfile`: past 32 bits, and not a whole number of pages. */
export const BIG_SIZE = 4 * 1024 ** 3 + 4097;

function* bigEntries(): Generator<Uint8Array> {
  yield* tarEntry({ name: 'big.bin', mtime: TIME, size: BIG_SIZE });
  const chunk = Buffer.alloc(1 << 20);
  const pattern = noise(4096, 5);
  for (let left = BIG_SIZE, index = 0; left > 0; left -= chunk.length, index++) {
    pattern.writeUInt32LE(index, 0);
    const fresh = Buffer.from(chunk);
    // A file of zeros would be stored as a hole: each 32 KiB holds something, so that every block is real.
    for (let at = 0; at < fresh.length; at += 32_768) pattern.copy(fresh, at, 0, 64);
    yield left < fresh.length ? fresh.subarray(0, left) : fresh;
  }
  yield padding(BIG_SIZE);
}

/** Layers of `layers128`: each adds a file, changes /shared, and deletes the file of the layer three below. */
const LAYERS = 128;

function smallLayer(index: number): Buffer {
  const gone = index >= 3 ? [{ name: `files/.wh.${index - 3}`, mtime: TIME }] : [];
  return tarOf(
    { name: 'files/', mode: 0o755, mtime: TIME + index },
    { name: `files/${index}`, data: `layer ${index}\n`, mtime: TIME },
    { name: 'shared', data: `written by layer ${index}\n`, mtime: TIME + index },
    ...gone,
  );
}

/** A folder tree like that of a Node or Python application: many small files, few large ones. */
function* benchEntries(layer: number): Generator<Uint8Array> {
  const random = noise(1 << 20, 77);
  const [from, to] = [
    [0, 700],
    [500, 1000],
    [900, 1100],
  ][layer] as [number, number];
  for (let pack = from; pack < to; pack++) {
    const base = `opt/app/packages/p${String(pack).padStart(4, '0')}`;
    yield* tarEntry({ name: `${base}/`, mode: 0o755, mtime: TIME + layer });
    if (layer > 0 && pack % 10 === 0) {
      yield* tarEntry({ name: pack % 20 === 0 ? `${base}/.wh..wh..opq` : `${base}/.wh.LICENSE`, mode: 0, mtime: TIME });
    }
    for (let sub = 0; sub < 8; sub++) {
      yield* tarEntry({ name: `${base}/lib${sub}/`, mode: 0o755, mtime: TIME + layer });
      for (let item = 0; item < 10; item++) {
        const id = (pack * 8 + sub) * 10 + item;
        // In upper layers only some files of a package that is also below are replaced.
        if (layer > 0 && item % 3 !== 0 && pack < [0, 700, 1000][layer]) continue;
        const size = id % 97 === 0 ? 120_000 + (id % 7) * 40_000 : 300 + ((id * 2654435761) >>> 18);
        yield* tarEntry({
          name: `${base}/lib${sub}/module-${item}.js`,
          mtime: TIME + (id % 1000),
          data: text(random, id + layer * 7, size),
        });
      }
    }
    yield* tarEntry({ name: `${base}/LICENSE`, mtime: TIME, data: `licence text number ${pack % 7}\n`.repeat(60) });
    if (pack % 5 === 0)
      yield* tarEntry({ name: `${base}/index.js`, type: '2', linkname: 'lib0/module-0.js', mtime: TIME });
  }
}

/** Bytes that compress about as well as program text, and differ from file to file. */
function text(random: Buffer, id: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0, step = id; at < size; at += 512, step++) {
    random.copy(bytes, at, (step * 8191) % (random.length - 512), ((step * 8191) % (random.length - 512)) + 160);
    bytes.fill(`function item${step}(argument) { return argument + ${id}; }\n`, at + 160, Math.min(at + 512, size));
  }
  return bytes;
}

/** The layers of each synthetic image, lowest first. */
export const SYNTHETIC: Record<'million' | 'bigfile' | 'layers128' | 'bench', (() => Readable)[]> = {
  million: [() => tarStream(millionEntries())],
  bigfile: [() => tarStream(bigEntries())],
  layers128: Array.from({ length: LAYERS }, (_, index) => () => Readable.from([smallLayer(index)])),
  bench: [0, 1, 2].map((layer) => () => tarStream(benchEntries(layer))),
};
