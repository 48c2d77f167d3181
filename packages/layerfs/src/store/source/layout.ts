/** Images of an OCI layout (OCI image spec, image-layout.md), in a folder or in an archive. */
import { LayerfsError } from '../../core/error.js';
import type { Descriptor } from '../../core/oci/descriptor.js';
import { annotatedName, isAttestation, parseIndex } from '../../core/oci/image-index.js';
import { parseDocument, shown } from '../../core/oci/json.js';
import { blobPath, checkBlob, readDocument, type LayoutFiles } from './blobs.js';
import { choose, listed, readImage, type Documents } from './choose.js';
import { isPicked, nameFor } from './naming.js';
import type { Selection, SourceImage } from './source.js';

/** What an index lists under one name: manifests for one or several platforms. */
interface Group {
  /** As the index has it. */
  readonly label?: string;
  readonly entries: Descriptor[];
}

/**
 * Reads the images that are wanted; the layers are left where they are.
 * @param base what the layout is called, to name images that have a tag only
 * @throws LayerfsError not-found naming what is missing and who refers to it, or listing what there is instead
 */
export async function readLayout(
  files: LayoutFiles,
  selection: Selection,
  base: string | undefined,
  notes: string[],
): Promise<SourceImage[]> {
  await checkVersion(files);
  if ((await files.size('index.json')) === undefined) {
    throw new LayerfsError('not-found', 'an OCI layout without index.json: nothing tells which images it holds');
  }
  const index = parseIndex(await files.document('index.json'), 'index.json');
  const all = groupsOf(index.manifests.filter((entry) => !isAttestation(entry)));
  const images: SourceImage[] = [];
  const documents = documentsOf(files);
  for (const group of pickGroups(all, selection)) {
    const label = group.label === undefined ? 'the image' : shown(group.label);
    const chosen = await choose(documents, group.entries, 'index.json', label, selection, notes);
    const name =
      selection.name ??
      nameFor(group.label, base) ??
      (group.label === undefined ? undefined : nameFor(undefined, base));
    images.push(await readImage(documents, chosen, name === undefined ? [] : [name], selection, notes));
  }
  return images;
}

async function checkVersion(files: LayoutFiles): Promise<void> {
  // Some tools leave the marker out; when it is there it must be of a version we know.
  if ((await files.size('oci-layout')) === undefined) return;
  const fields = parseDocument(await files.document('oci-layout'), 'oci-layout');
  const version = fields.requiredString('imageLayoutVersion', 64);
  if (!version.startsWith('1.')) {
    throw new LayerfsError('unimplemented', `oci-layout, field imageLayoutVersion: ${shown(version)} is not known`);
  }
}

function groupsOf(entries: readonly Descriptor[]): Group[] {
  const groups = new Map<string, Group>();
  for (const entry of entries) {
    const { name, tag } = annotatedName(entry);
    const label = name ?? tag;
    // Unnamed manifests belong together when their platforms tell them apart.
    const key = label ?? (entry.platform === undefined ? entry.digest : '');
    const group = groups.get(key);
    if (group !== undefined) group.entries.push(entry);
    else groups.set(key, { ...(label === undefined ? {} : { label }), entries: [entry] });
  }
  return [...groups.values()];
}

function pickGroups(groups: readonly Group[], { pick, name }: Selection): readonly Group[] {
  if (groups.length === 0) throw new LayerfsError('not-found', 'index.json lists no image');
  const labels = groups.map((group) => group.label ?? group.entries[0].digest);
  if (pick !== undefined) {
    const exact = groups.filter((_, i) => labels[i] === pick);
    const picked = exact.length > 0 ? exact : groups.filter((_, i) => isPicked(labels[i], pick));
    if (picked.length === 0) {
      throw new LayerfsError('not-found', `no image ${shown(pick)} in it; there is ${listed(labels)}`);
    }
    return picked;
  }
  if (name !== undefined && groups.length > 1) {
    const picked = groups.filter((_, i) => isPicked(labels[i], name));
    if (picked.length === 1) return picked;
    throw new LayerfsError(
      'invalid-argument',
      `it holds ${groups.length} images, and one name was given: pick one as PATH:TAG out of ${listed(labels)}`,
    );
  }
  return groups;
}

function documentsOf(files: LayoutFiles): Documents {
  return {
    read: (descriptor, referrer) => readDocument(files, descriptor, referrer),
    async layer(descriptor, referrer) {
      await checkBlob(files, descriptor, referrer);
      const path = blobPath(descriptor.digest);
      const file = files.path(path);
      return { ...(file === undefined ? {} : { file }), open: () => files.open(path) };
    },
  };
}
