import { lstatSync, mkdirSync, readFileSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { AT_FDCWD, makedev, mknodat, setXattr } from '@layerfs/linux';
import { TOP, run } from '../harness/programs.js';

/** A test image's path, built first when it is not in the cache. */
export function testImage(name: string, variant = 'oci-gzip'): string {
  return run(process.execPath, join(TOP, 'test/dist/images/build.js'), '--path', name, variant).trim();
}

interface Descriptor {
  readonly digest: string;
  readonly mediaType: string;
}

/** The layer blobs of an OCI layout with one image, base first. */
export function layerBlobs(layout: string): string[] {
  const read = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));
  const blob = (digest: string): string => join(layout, 'blobs', digest.replace(':', '/'));
  const index = read(join(layout, 'index.json')) as { manifests: Descriptor[] };
  const manifest = read(blob(index.manifests[0].digest)) as { layers: Descriptor[] };
  return manifest.layers.map((layer) => blob(layer.digest));
}

/**
 * Unpacks each layer into a folder of its own, with whiteouts as overlayfs wants them: what overlayfs and fuse-overlayfs
 * get as lowers. Returns them topmost first. Root only.
 * @param lenient for an image with entries that tar refuses
 */
export function unpackLowers(layout: string, target: string, lenient: boolean): string[] {
  const lowers = layerBlobs(layout).map((blob, i) => {
    const folder = join(target, String(i));
    mkdirSync(folder);
    run(
      'sh',
      '-c',
      `gzip -dc '${blob}' | tar x --xattrs --numeric-owner -C '${folder}'${lenient ? ' 2> /dev/null || true' : ''}`,
    );
    convertWhiteouts(folder);
    return folder;
  });
  return lowers.toReversed();
}

/** Paths here are latin1 strings, one char a byte: names need not be UTF-8. */
function convertWhiteouts(folder: string): void {
  const bytes = (path: string): Buffer => Buffer.from(path, 'latin1');
  for (const entry of readdirSync(bytes(folder), { withFileTypes: true, encoding: 'latin1' })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) convertWhiteouts(path);
    else if (entry.name === '.wh..wh..opq') {
      unlinkSync(bytes(path));
      setXattr(bytes(folder), 'trusted.overlay.opaque', Buffer.from('y'));
    } else if (entry.name.startsWith('.wh.')) {
      unlinkSync(bytes(path));
      const hidden = bytes(`${folder}/${entry.name.slice(4)}`);
      if (lstatSync(hidden, { throwIfNoEntry: false }) !== undefined) continue;
      mknodat(AT_FDCWD, hidden, 0o20000, makedev(0, 0));
    }
  }
}
