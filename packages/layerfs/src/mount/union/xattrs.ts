import { ErrnoError, errno, getXattr, listXattrs, removeXattr, setXattr } from '@layerfs/linux';
import { latin1Bytes } from '../../core/bytes.js';
import { visibleXattrs } from '../process.js';
import type { CopyUp } from './copy-up.js';
import { Folder, type Inode } from './inodes.js';
import type { LowerNode } from './lower.js';
import type { Union } from './union.js';

const DEFAULT_ACL = 'system.posix_acl_default';

/**
 * Extended attributes as users see them. The union's own are hidden; whoever sets one of such a name gets it under an
 * escaped one, as on kernel overlayfs since Linux 6.7, so that an overlay may lie on an overlay.
 */
export class Xattrs {
  readonly #union: Union;
  readonly #copyUp: CopyUp;
  /** `trusted.overlay.`, and `trusted.overlay.overlay.` for what users call `trusted.overlay.` */
  readonly #own: string;
  readonly #escaped: string;

  constructor(union: Union, copyUp: CopyUp) {
    this.#union = union;
    this.#copyUp = copyUp;
    this.#own = `${union.upper.xattrClass}.overlay.`;
    this.#escaped = `${this.#own}overlay.`;
  }

  #onDisk(name: string): string {
    return name.startsWith(this.#own) ? `${this.#escaped}${name.slice(this.#own.length)}` : name;
  }

  /** What a name on disk is to users; undefined: nothing. */
  #shown(name: string): string | undefined {
    if (!name.startsWith(this.#own)) return name;
    return name.startsWith(this.#escaped) ? `${this.#own}${name.slice(this.#escaped.length)}` : undefined;
  }

  /** A value; undefined when there is none of that name. @throws ErrnoError ENOTSUP for a name of no namespace */
  get(node: Inode | LowerNode, name: string): Uint8Array | undefined {
    checkNamespace(name);
    return this.#value(node, this.#onDisk(name));
  }

  #value(node: Inode | LowerNode, name: string): Uint8Array | undefined {
    if (typeof node === 'number') return this.#union.lower.xattr(node, name);
    if (!node.upper) return this.#union.lower.xattr(node.lower, name);
    if (node.bare) return undefined;
    return getXattr(this.#union.upper.xattrTarget(node), name);
  }

  /** Names as a process sees them, each with a NUL behind. */
  list(node: Inode | LowerNode, pid: number): Uint8Array {
    const { lower, upper } = this.#union;
    if (typeof node !== 'number' && node.bare) return EMPTY;
    const names =
      typeof node !== 'number' && node.upper
        ? listXattrs(upper.xattrTarget(node))
        : lower.xattrs(typeof node === 'number' ? node : node.lower).map(([name]) => name);
    const shown = names.map((name) => this.#shown(name)).filter((name) => name !== undefined);
    return latin1Bytes(
      visibleXattrs(shown, pid)
        .map((name) => `${name}\0`)
        .join(''),
    );
  }

  set(node: Inode | LowerNode, name: string, value: Uint8Array, flags: number): void {
    checkNamespace(name);
    const onDisk = this.#onDisk(name);
    this.#checkFlags(node, onDisk, flags);
    const inode = this.#copyUp.any(node, { data: false });
    inode.bare = false;
    setXattr(this.#union.upper.xattrTarget(inode), onDisk, value, flags);
    this.#noteAcl(inode, name);
  }

  // Before anything is copied up for nothing.
  #checkFlags(node: Inode | LowerNode, name: string, flags: number): void {
    if (flags === 0 || (typeof node !== 'number' && node.upper)) return;
    const present = this.#value(node, name) !== undefined;
    if ((flags & XATTR_CREATE) !== 0 && present) throw new ErrnoError(errno.EEXIST, 'setxattr');
    if ((flags & XATTR_REPLACE) !== 0 && !present) throw new ErrnoError(errno.ENODATA, 'setxattr');
  }

  remove(node: Inode | LowerNode, name: string): void {
    checkNamespace(name);
    const onDisk = this.#onDisk(name);
    // Before anything is copied up for nothing.
    const inUpper = typeof node !== 'number' && node.upper;
    if (!inUpper && this.#value(node, onDisk) === undefined) throw new ErrnoError(errno.ENODATA, 'removexattr');
    const inode = this.#copyUp.any(node, { data: false });
    try {
      removeXattr(this.#union.upper.xattrTarget(inode), onDisk);
    } catch (error) {
      // Overlayfs, too, has no error for an ACL of upper that is not there.
      if (!(error instanceof ErrnoError) || error.errno !== errno.ENODATA || !ACLS.has(name)) throw error;
    }
    this.#noteAcl(inode, name);
  }

  #noteAcl(inode: Inode, name: string): void {
    if (name === DEFAULT_ACL && inode instanceof Folder) inode.defaultAcl = undefined;
  }
}

/** What upper's filesystem would say of a name that no namespace takes, also where nothing is in upper yet. */
function checkNamespace(name: string): void {
  if (ACLS.has(name) || NAMESPACES.some((prefix) => name.startsWith(prefix) && name.length > prefix.length)) return;
  throw new ErrnoError(errno.ENOTSUP, 'xattr');
}

const ACLS: ReadonlySet<string> = new Set([DEFAULT_ACL, 'system.posix_acl_access']);
const NAMESPACES = ['user.', 'trusted.', 'security.'];
const EMPTY = new Uint8Array();
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
