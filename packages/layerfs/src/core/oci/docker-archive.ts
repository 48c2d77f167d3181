/**
 * `manifest.json` of `docker save` (moby: image/tarexport): which files of the archive are the config and the layers.
 * Newer archives are OCI layouts as well; their manifest.json names paths below blobs/.
 */
import { LayerfsError } from '../error.js';
import { parseDocumentList, shown, type Fields } from './json.js';
import { MAX_LAYERS } from './manifest.js';

/** Most images of one archive. */
const MAX_IMAGES = 1000;

/** An image in an archive; paths are relative to its root. */
export interface ArchivedImage {
  readonly config: string;
  readonly names: readonly string[];
  /** Lowest layer first. */
  readonly layers: readonly string[];
}

/** Parses `manifest.json`. @throws LayerfsError invalid-argument naming the field */
export function parseArchiveManifest(bytes: Uint8Array): ArchivedImage[] {
  const list = parseDocumentList(bytes, 'manifest.json', MAX_IMAGES);
  if (list.length === 0) throw new LayerfsError('invalid-argument', 'manifest.json names no image');
  return list.map((entry) => {
    const layers = entry.stringList('Layers', MAX_LAYERS);
    if (layers === undefined) throw entry.invalid('Layers', 'missing');
    if (layers.length === 0) throw entry.invalid('Layers', 'an image without layers holds no files');
    return {
      config: insidePath(entry.requiredString('Config'), entry, 'Config'),
      names: entry.stringList('RepoTags', 1000) ?? [],
      layers: layers.map((path, index) => insidePath(path, entry, `Layers[${index}]`)),
    };
  });
}

// Paths are only ever looked up among the archive's own entries, never opened; one that leaves is a sign of malice all the same.
function insidePath(path: string, entry: Fields, field: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (path === '' || path.startsWith('/') || parts.length === 0 || parts.includes('..')) {
    throw entry.invalid(field, `a path outside of the archive: ${shown(path)}`);
  }
  return parts.join('/');
}
