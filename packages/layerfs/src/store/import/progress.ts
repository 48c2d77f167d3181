import type { ChainID, Digest, DiffID } from '../../core/digest.js';

/** Options of an import. */
export interface ImportOptions {
  /** What to call the image, by Docker's rules; without it the names that the source has. */
  readonly name?: string;
  /** `os/architecture[/variant]`; this machine's by default. */
  readonly platform?: string;
  /** Most bytes that one layer may have uncompressed, holes of sparse files counted. */
  readonly maxLayerSize?: number;
  readonly onProgress?: (event: ImportProgress) => void;
  readonly signal?: AbortSignal;
}

/** What an import tells while it runs. */
export type ImportProgress =
  | {
      readonly kind: 'layer';
      /** 1-based. */
      readonly index: number;
      readonly of: number;
      /** The blob's; the diffID where the source does not tell it; empty where it tells neither. */
      readonly digest: string;
      /** Bytes of the blob that were read. */
      readonly done: number;
      /** Bytes of the blob; undefined for a stream. */
      readonly total: number | undefined;
      readonly state: 'waiting' | 'exists' | 'reading' | 'done';
    }
  /** Bytes that came over the network since the last such event. */
  | { readonly kind: 'fetched'; readonly bytes: number }
  | { readonly kind: 'image'; readonly name: string | undefined; readonly digest: Digest }
  | { readonly kind: 'note'; readonly message: string };

/** A layer of an imported image. Sizes in bytes. */
export interface ImportedLayer {
  readonly diffID: DiffID;
  readonly digest: Digest;
  /** Of the blob. */
  readonly size: number;
  /** Of the tar. */
  readonly unpackedSize: number;
  /** Entries of the tar. */
  readonly entries: number;
  /** It was in the store before. */
  readonly reused: boolean;
}

/** An imported image. */
export interface ImportedImage {
  readonly name?: string;
  readonly digest: Digest;
  readonly platform: string;
  readonly chainID: ChainID;
  readonly layers: readonly ImportedLayer[];
}

/** What an import did. */
export interface ImportResult {
  readonly images: readonly ImportedImage[];
  readonly newObjects: number;
  readonly newBytes: number;
  readonly notes: readonly string[];
}
