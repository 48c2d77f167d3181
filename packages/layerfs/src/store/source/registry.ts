/** Images of a registry: their documents are fetched at once, their layers when they are read. */
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import type { Digest } from '../../core/digest.js';
import { digestHex } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { Descriptor } from '../../core/oci/descriptor.js';
import { MAX_DOCUMENT } from '../../core/oci/json.js';
import { isForeignLayerType, isIndexType, isManifestType } from '../../core/oci/media-types.js';
import { formatPlatform, parsePlatform, platformMatch } from '../../core/oci/platform.js';
import { parseImageName, parseReference } from '../../core/oci/reference.js';
import { formatRegistryReference, type RegistryReference } from '../../registry/address.js';
import type { FetchedManifest, Registry } from '../../registry/registry.js';
import type { StoreContext } from '../context.js';
import { isErrno } from '../errors.js';
import { sha256 } from './blobs.js';
import { candidatesOf, choose, readImage, type Candidate, type Documents } from './choose.js';
import { currentPlatform } from './host.js';
import type { Selection, Source, SourceImage } from './source.js';
import { keeping, wholeIndex } from './whole-index.js';

/** What is wanted of a registry. */
export interface RegistrySelection extends Selection {
  readonly allPlatforms: boolean;
  /** Gets what has to lie on disk. */
  readonly folder: string;
  /** Told of bytes of layers as they come over the network. */
  readonly onFetched: (bytes: number) => void;
  /** Told early that the store has not the image, so that layers will probably come. */
  readonly onNew?: () => void;
  readonly signal?: AbortSignal | undefined;
}

/** Layers that are fetched at the same time. */
const PARALLEL = 3;

/** @throws LayerfsError as {@link Registry}, and not-found where no image is for the platform */
export async function openRegistry(
  context: StoreContext,
  registry: Registry,
  reference: RegistryReference,
  selection: RegistrySelection,
): Promise<Source> {
  const { signal, allPlatforms } = selection;
  const notes: string[] = [];
  const top = await registry.manifest(reference, { signal });
  if (!existsSync(context.paths.blob(top.digest))) selection.onNew?.();
  const documents = registryDocuments(context, registry, reference, selection, top);
  const root: Descriptor = { mediaType: top.mediaType, digest: top.digest, size: top.bytes.length };
  const label = formatRegistryReference(reference);
  const name = selection.name ?? nameOf(reference);
  const chosen = allPlatforms
    ? await namedCandidates(documents, root, label, name)
    : [{ name, candidate: await choose(documents, [root], label, label, selection, notes) }];
  const index =
    allPlatforms && isIndexType(root.mediaType)
      ? await wholeIndex(documents, root, label, {
          name,
          notes,
          keep: keeping(context, registry, reference, selection),
        })
      : undefined;
  const images: SourceImage[] = [];
  for (const { name, candidate } of chosen) {
    // That some of all platforms is not for this machine is no news.
    const image = await readImage(documents, candidate, [name], selection, allPlatforms ? [] : notes);
    const { host, repository } = reference;
    const source = formatRegistryReference({ host, repository, digest: candidate.descriptor.digest });
    images.push({ ...image, source });
  }
  return { format: 'registry', images, notes, parallel: PARALLEL, ...(index === undefined ? {} : { index }) };
}

/** An image that was asked for by digest alone gets that as its tag: without a name it would not stay. */
function nameOf(reference: RegistryReference): string {
  const { host, repository, tag, digest } = reference;
  const own = tag ?? (digest === undefined ? 'latest' : `sha256-${digestHex(digest)}`);
  return formatRegistryReference({ host, repository, tag: own });
}

/** The one for this machine has the name itself, the others have their platform in it. */
async function namedCandidates(
  documents: Documents,
  root: Descriptor,
  label: string,
  name: string,
): Promise<{ name: string; candidate: Candidate }[]> {
  const candidates = await candidatesOf(documents, [root], label);
  const wanted = parsePlatform(currentPlatform());
  const scores = candidates.map(({ platform }) => (platform === undefined ? 0 : platformMatch(wanted, platform)));
  const best = Math.max(0, scores.indexOf(Math.max(...scores)));
  const { name: base, tag = 'latest' } = parseReference(name);
  const names = new Set<string>();
  return candidates.map((candidate, i) => {
    const { platform, descriptor } = candidate;
    const suffix =
      platform === undefined
        ? digestHex(descriptor.digest).slice(0, 12)
        : formatPlatform(platform).replaceAll('/', '-');
    let own = i === best ? name : parseImageName(`${base}:${tag}-${suffix}`);
    // Windows has several of one platform.
    if (names.has(own)) own = parseImageName(`${base}:${tag}-${suffix}-${digestHex(descriptor.digest).slice(0, 12)}`);
    names.add(own);
    return { name: own, candidate };
  });
}

/** Documents and layers of a repository; what the store has, or was fetched before, is not fetched. @param top is here */
export function registryDocuments(
  context: StoreContext,
  registry: Registry,
  reference: RegistryReference,
  { onFetched, signal }: Pick<RegistrySelection, 'onFetched' | 'signal'>,
  top: FetchedManifest,
): Documents {
  const { host, repository } = reference;
  const known = new Map<Digest, Uint8Array>([[top.digest, top.bytes]]);
  return {
    async read(descriptor, referrer) {
      const { digest, size, mediaType } = descriptor;
      if (size > MAX_DOCUMENT) {
        throw new LayerfsError(
          'invalid-argument',
          `${referrer} refers to ${digest} of ${size} bytes; more than ${MAX_DOCUMENT} are not accepted`,
        );
      }
      let bytes = known.get(digest) ?? (await storedDocument(context, digest));
      if (bytes === undefined) {
        bytes =
          isManifestType(mediaType) || isIndexType(mediaType)
            ? (await registry.manifest({ host, repository, digest }, { signal })).bytes
            : await whole(registry.blob({ host, repository }, descriptor, { signal }));
        known.set(digest, bytes);
      }
      if (bytes.length !== size) {
        throw new LayerfsError(
          'corrupt',
          `${digest} has a size of ${bytes.length} bytes where ${referrer} says ${size}`,
        );
      }
      return bytes;
    },
    layer(descriptor, referrer) {
      const { digest, mediaType } = descriptor;
      if (isForeignLayerType(mediaType) && context.meta.blob(digest) === undefined) {
        throw new LayerfsError(
          'unimplemented',
          `${referrer}: layer ${digest} is of type ${mediaType}: it has to come from elsewhere, and layerfs gets nothing from there`,
        );
      }
      // The digest is verified on the way into the store.
      const fetch = (offset: number): AsyncIterable<Uint8Array> =>
        registry.blob({ host, repository }, descriptor, { offset, verify: false, onFetched, signal });
      return Promise.resolve({ open: () => fetch(0), fetch });
    },
  };
}

async function whole(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return Buffer.concat(parts);
}

/** A manifest or config that the store has, if it is sound. */
async function storedDocument({ paths }: StoreContext, digest: Digest): Promise<Uint8Array | undefined> {
  try {
    if ((await stat(paths.blob(digest))).size > MAX_DOCUMENT) return undefined;
    const bytes = await readFile(paths.blob(digest));
    return sha256(bytes) === digest ? bytes : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
