import { LayerfsError } from '../../core/error.js';

/** How a layer blob is compressed. */
export type Compression = 'none' | 'gzip' | 'zstd';

function starts(bytes: Uint8Array, ...magic: number[]): boolean {
  return magic.every((byte, i) => bytes[i] === byte);
}

/**
 * Recognises compression by the first bytes, because media types are wrong often enough.
 * @throws LayerfsError unimplemented for xz, bzip2 and lzma
 */
export function sniffCompression(head: Uint8Array): Compression {
  if (starts(head, 0x1f, 0x8b)) return 'gzip';
  if (starts(head, 0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  // A skippable zstd frame, with which some writers begin.
  if (starts(head.subarray(1), 0x2a, 0x4d, 0x18) && (head[0] & 0xf0) === 0x50) return 'zstd';
  if (starts(head, 0xfd, 0x37, 0x7a, 0x58, 0x5a, 0)) throw unsupported('xz');
  if (starts(head, 0x42, 0x5a, 0x68)) throw unsupported('bzip2');
  if (starts(head, 0x5d, 0, 0)) throw unsupported('lzma');
  return 'none';
}

function unsupported(name: string): LayerfsError {
  return new LayerfsError(
    'unimplemented',
    `${name} compression is not supported: decompress it first, or use gzip or zstd`,
  );
}
