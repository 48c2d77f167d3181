/** The four ways in which GNU tar writes a sparse file, after its manual's appendix "Storing Sparse Files". */
import { bytesOf, padding, putChecksum, putNumber, tarEntry, type TarEntry } from './tar.js';

/** A piece of data at its place in the file; what no piece covers is a hole. */
interface SparsePiece {
  offset: number;
  data: Uint8Array;
}

type Sparse = Omit<TarEntry, 'data' | 'size' | 'type' | 'form'> & { realSize: number; pieces: SparsePiece[] };

/** A map always reaches the file's end: GNU tar closes with an empty piece when the file ends in a hole. */
function mapOf(file: Sparse): [offset: number, length: number][] {
  const map = file.pieces.map((piece): [number, number] => [piece.offset, piece.data.length]);
  const last = map.at(-1);
  if (last === undefined || last[0] + last[1] < file.realSize) map.push([file.realSize, 0]);
  return map;
}

/** Old GNU format: type 'S', the map in the header and in extension blocks of 21 pieces. */
export function sparseOldGnu(file: Sparse): Uint8Array[] {
  const map = mapOf(file);
  const data = Buffer.concat(file.pieces.map((piece) => piece.data));
  const parts = tarEntry({
    ...file,
    form: 'gnu',
    type: 'S',
    size: data.length,
    patch: (header) => {
      map.slice(0, 4).forEach(([offset, length], index) => {
        putNumber(header, 386 + index * 24, 12, BigInt(offset));
        putNumber(header, 398 + index * 24, 12, BigInt(length));
      });
      header[482] = map.length > 4 ? 1 : 0;
      putNumber(header, 483, 12, BigInt(file.realSize));
      putChecksum(header);
    },
  });
  // The entry above was written without data: extension blocks stand between header and data.
  for (let at = 4; at < map.length; at += 21) {
    const block = new Uint8Array(512);
    map.slice(at, at + 21).forEach(([offset, length], index) => {
      putNumber(block, index * 24, 12, BigInt(offset));
      putNumber(block, index * 24 + 12, 12, BigInt(length));
    });
    block[504] = map.length > at + 21 ? 1 : 0;
    parts.push(block);
  }
  parts.push(data, padding(data.length));
  return parts;
}

/** PAX sparse formats 0.0 (repeated records), 0.1 (one map record) and 1.0 (map before the data). */
export function sparsePax(version: '0.0' | '0.1' | '1.0', file: Sparse): Uint8Array[] {
  const map = mapOf(file);
  const data = Buffer.concat(file.pieces.map((piece) => piece.data));
  const { realSize, pieces: _pieces, ...entry } = file;
  const stored = `GNUSparseFile.0/${file.name.split('/').at(-1)!}`;
  if (version === '1.0') {
    const text = [String(map.length), ...map.flat().map(String)].join('\n') + '\n';
    const head = Buffer.concat([bytesOf(text), padding(text.length)]);
    const pax = {
      'GNU.sparse.major': '1',
      'GNU.sparse.minor': '0',
      'GNU.sparse.name': file.name,
      'GNU.sparse.realsize': String(realSize),
    };
    return tarEntry({ ...entry, name: stored, pax: { ...pax, ...entry.pax }, data: Buffer.concat([head, data]) });
  }
  const common = { 'GNU.sparse.size': String(realSize), 'GNU.sparse.numblocks': String(map.length) };
  if (version === '0.1') {
    const pax = { ...common, 'GNU.sparse.name': file.name, 'GNU.sparse.map': map.flat().join(',') };
    return tarEntry({ ...entry, name: stored, pax: { ...pax, ...entry.pax }, data });
  }
  const records = map.flatMap(([offset, length]) => [`GNU.sparse.offset=${offset}`, `GNU.sparse.numbytes=${length}`]);
  return tarEntry({ ...entry, data, repeatedPax: records, pax: { ...common, ...entry.pax } });
}
