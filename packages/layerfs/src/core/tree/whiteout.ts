/**
 * How OCI layer tars spell whiteouts (image spec, layer.md, "Whiteouts"). In the tree they are fields, so that the
 * tree does not depend on the spelling.
 */
import { printable } from '../bytes.js';
import { LayerfsError } from '../error.js';

/** What a name that starts with `.wh.` means. `ignored` are aufs's own records, which hide nothing. */
export type Whiteout =
  { readonly kind: 'whiteout'; readonly name: string } | { readonly kind: 'opaque' } | { readonly kind: 'ignored' };

const OPAQUE_MARKER: Whiteout = { kind: 'opaque' };
const IGNORED: Whiteout = { kind: 'ignored' };

/**
 * What one name of a tar entry's path (its last component) says about lower layers; `undefined` for an ordinary name.
 * @throws LayerfsError invalid-argument for `.wh.`, `.wh..` and `.wh...`, which would hide no name, `.` or `..`.
 */
export function whiteoutOf(name: string): Whiteout | undefined {
  if (!name.startsWith('.wh.')) return undefined;
  if (name === '.wh..wh..opq') return OPAQUE_MARKER;
  if (name.startsWith('.wh..wh.')) return IGNORED;
  const hidden = name.slice(4);
  if (hidden === '' || hidden === '.' || hidden === '..') {
    throw new LayerfsError('invalid-argument', `invalid whiteout ${printable(name)}`);
  }
  return { kind: 'whiteout', name: hidden };
}
