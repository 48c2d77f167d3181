/** The trees that umoci unpacks, to compare with; and in what umoci 0.4.7 itself departs from the image. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Excuse } from '../compare/compare.js';
import { run } from '../images/oci.js';
import { scratchFolder } from './scratch.js';

/** Unpacks an image of an OCI layout as root, into a folder that the caller removes with `remove`. */
export async function umociUnpack(layout: string, tag = 'latest'): Promise<{ path: string; remove: () => void }> {
  const folder = scratchFolder('layerfs-umoci-');
  const path = join(folder, 'rootfs');
  await run('umoci', ['raw', 'unpack', '--image', `${layout}:${tag}`, path]);
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Folders of the odd layers that have no entry of their own in any layer. */
const IMPLIED: RegExp[] = [
  /^odd\/new(\/implied(\/folders)?)?$/,
  /^odd\/v\/implied\/deeper(\/still)?$/,
  /^odd\/headers\/double$/,
  /^odd\/long\/p{120}$/,
  /^odd\/long\/0d{199}(\/\dd{199})*$/,
];

/** Folders with an entry, into which umoci then made one of the implied folders. */
const PARENTS_OF_IMPLIED = ['odd', 'odd/v/implied', 'odd/headers', 'odd/long'];

const implied = (path: string): boolean => IMPLIED.some((pattern) => pattern.test(path));

/** What may differ between a mount (or checkout) and umoci's tree: all of it umoci's own. */
export const UMOCI_EXCUSES: Excuse[] = [
  {
    reason: 'a folder without an entry in any layer: umoci leaves the time of unpacking',
    matches: ({ path, field }) => field === 'mtime' && implied(path),
  },
  {
    reason: 'a folder in which umoci makes such a folder: its own time is not put back',
    matches: ({ path, field }) => field === 'mtime' && PARENTS_OF_IMPLIED.includes(path),
  },
  {
    reason: 'a folder without an entry below a setgid folder: the kernel gives it group and setgid of the folder above',
    matches: ({ path, field }) => (field === 'mode' || field === 'owner') && path.startsWith('odd/v/implied/deeper'),
  },
  {
    reason: 'a folder that the upper layer implies under an opaque one: umoci makes it anew with the time of unpacking',
    matches: ({ path, field }) => field === 'mtime' && path === 'odd/v/opaque-last/hidden-folder',
  },
  {
    reason: "a folder followed by its own whiteout: umoci deletes the lower layer's children after the time was set",
    matches: ({ path, field }) => field === 'mtime' && path === 'odd/v/folder-made-anew',
  },
  {
    reason: 'an extended attribute with an empty value: umoci leaves it out',
    matches: ({ path, field, left, right }) =>
      field === 'xattrs' &&
      path === 'odd/xattrs/several' &&
      left?.replace(/^user\.empty(=0x)?\n?/m, '').trim() === right,
  },
];
