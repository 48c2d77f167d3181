import type { DiffID, Digest } from '../../core/digest.js';
import type { Descriptor } from '../../core/oci/descriptor.js';
import type { ImageConfig } from '../../core/oci/config.js';

/** What kind of thing images are read from. */
export type SourceFormat = 'registry' | 'oci-layout' | 'oci-archive' | 'docker-archive' | 'rootfs-tar' | 'folder';

/** A layer that a source offers. What is undefined shows only when it is read. */
export interface SourceLayer {
  /** How messages call it. */
  readonly what: string;
  readonly diffID?: DiffID;
  readonly digest?: Digest;
  /** Bytes of the blob. */
  readonly size?: number;
  /** Without one the blob's first bytes tell its compression. */
  readonly mediaType?: string;
  /** Where the blob lies as a file of its own, to clone it from. */
  readonly file?: string;
  /** The blob's bytes. To be read at most once at a time. */
  open(): AsyncIterable<Uint8Array>;
  /** Its bytes from an offset on, where they come from far: what has come is then kept for another try, should this one fail. */
  readonly fetch?: (offset: number) => AsyncIterable<Uint8Array>;
}

/** A document with the digest that covers its bytes. */
export interface SourceDocument {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
}

/** An image that a source offers. */
export interface SourceImage {
  /** Names to give it, as the source or the user has them: parsed, with tag. May be empty. */
  readonly names: readonly string[];
  /** Absent where there is none in the source: it is made from what the layers turn out to be. */
  readonly manifest?: SourceDocument & { readonly mediaType: string };
  readonly config?: SourceDocument & { readonly parsed: ImageConfig };
  /** Lowest first. */
  readonly layers: readonly SourceLayer[];
  /** Where it can be had again: a reference with host and digest. */
  readonly source?: string;
  /** For an image without a config: what its history says. */
  readonly createdBy?: string;
  /** Makes manifest and config, where those tell what shows only when the layers are read. May refuse by throwing. */
  readonly complete?: (layers: readonly FoundLayer[]) => SourceDocuments;
}

/** The index that the images are of. */
export interface SourceIndex {
  /** What the image of it that is for this machine is called. */
  readonly name: string;
  /** All of it but the images: the index first, further ones, and what is no image. Blobs of that are in files, which are moved. */
  readonly documents: readonly (Descriptor & ({ readonly bytes: Uint8Array } | { readonly file: string }))[];
}

/** Manifest and config of an image. */
export interface SourceDocuments {
  readonly manifest: SourceDocument & { readonly mediaType: string };
  readonly config: SourceDocument & { readonly parsed: ImageConfig };
}

/** A layer as it turned out; digest and size are the blob's. */
export interface FoundLayer {
  readonly diffID: DiffID;
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
}

/** What an import was asked for. */
export interface Selection {
  /** Name for the image; only when there is one. */
  readonly name?: string;
  /** Which image of several: a tag or name as the source has it. */
  readonly pick?: string;
  readonly platform?: string;
}

/** Images to read. `notes` are for the user. */
export interface Source {
  readonly format: SourceFormat;
  readonly images: readonly SourceImage[];
  readonly notes: readonly string[];
  /** Where it is to be kept. */
  readonly index?: SourceIndex;
  /** How many layers to read at the same time, where waiting for others takes most of it. */
  readonly parallel?: number;
}
