/** Images of a `docker save` archive: manifest.json, configs, and layers as files of any name. */
import type { Digest } from '../../core/digest.js';
import { isDigest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { parseConfig } from '../../core/oci/config.js';
import { parseArchiveManifest, type ArchivedImage } from '../../core/oci/docker-archive.js';
import { shown } from '../../core/oci/json.js';
import type { Archive } from './archive.js';
import { sha256 } from './blobs.js';
import { checkPlatform } from './choose.js';
import { isPicked, nameFor, wholeName } from './naming.js';
import type { Selection, SourceImage, SourceLayer } from './source.js';

/** Reads the images that are wanted; the layers are left where they are. @throws LayerfsError */
export async function readDockerArchive(
  archive: Archive,
  selection: Selection,
  base: string | undefined,
  notes: string[],
): Promise<SourceImage[]> {
  const all = parseArchiveManifest(await archive.document('manifest.json'));
  const images: SourceImage[] = [];
  for (const image of pickImages(all, selection)) {
    images.push(await readImage(archive, image, namesOf(image, selection, base), selection, notes));
  }
  return images;
}

function pickImages(images: readonly ArchivedImage[], { pick, name }: Selection): readonly ArchivedImage[] {
  const wanted = pick ?? (images.length > 1 ? name : undefined);
  if (wanted === undefined) return images;
  const picked = images.filter((image) => image.names.some((label) => isPicked(label, wanted)));
  if (picked.length > 0) return picked;
  const labels = images.flatMap((image) => (image.names.length === 0 ? [image.config] : image.names)).slice(0, 10);
  if (pick !== undefined) {
    throw new LayerfsError('not-found', `no image ${shown(pick)} in the archive; there is ${labels.join(', ')}`);
  }
  throw new LayerfsError(
    'invalid-argument',
    `the archive holds ${images.length} images, and one name was given: pick one as PATH:TAG out of ${labels.join(', ')}`,
  );
}

function namesOf(image: ArchivedImage, { name }: Selection, base: string | undefined): string[] {
  if (name !== undefined) return [name];
  const names = image.names.map((label) => wholeName(label)).filter((label) => label !== undefined);
  if (names.length > 0) return names;
  const fallback = nameFor(undefined, base);
  return fallback === undefined ? [] : [fallback];
}

async function readImage(
  archive: Archive,
  image: ArchivedImage,
  names: readonly string[],
  selection: Selection,
  notes: string[],
): Promise<SourceImage> {
  if (!archive.has(image.config)) {
    throw new LayerfsError('not-found', `config ${shown(image.config)} is missing; manifest.json refers to it`);
  }
  const bytes = await archive.document(image.config);
  const digest = sha256(bytes);
  const named = digestInPath(image.config.replace(/\.json$/, ''));
  if (named !== undefined && named !== digest) {
    throw new LayerfsError('corrupt', `config ${image.config} is damaged: its content has digest ${digest}`);
  }
  const config = parseConfig(bytes, digest);
  if (config.diffIDs.length !== image.layers.length) {
    throw new LayerfsError(
      'invalid-argument',
      `config ${digest}: ${config.diffIDs.length} diff_ids for the ${image.layers.length} layers of manifest.json`,
    );
  }
  checkPlatform(config, selection, notes);
  const layers = image.layers.map((path, index): SourceLayer => {
    const size = archive.size(path);
    if (size === undefined) {
      throw new LayerfsError('not-found', `layer ${shown(path)} is missing; manifest.json refers to it`);
    }
    // In newer archives the path tells the digest, which is then verified; in older ones the name means nothing.
    const known = path.startsWith('blobs/sha256/') ? digestInPath(path) : undefined;
    return {
      what: `layer ${index + 1} of ${image.layers.length} (${path})`,
      diffID: config.diffIDs[index],
      size,
      ...(known === undefined ? {} : { digest: known }),
      open: () => archive.open(path),
    };
  });
  return { names, config: { bytes, digest, parsed: config }, layers };
}

function digestInPath(path: string): Digest | undefined {
  const digest = `sha256:${path.slice(path.lastIndexOf('/') + 1)}`;
  return isDigest(digest) ? digest : undefined;
}
