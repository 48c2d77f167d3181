/** POSIX ACLs as the kernel takes them in xattrs (linux/posix_acl_xattr.h). */
import { unlessUnsupported } from './expect.js';
import { getxattr, setxattr } from './xattrs.js';

export const ACCESS_ACL = 'system.posix_acl_access';
export const DEFAULT_ACL = 'system.posix_acl_default';

const TAGS = { user: 2, group: 8, mask: 0x10, other: 0x20 } as const;
const OWNER_TAGS = { user: 1, group: 4 } as const;

/** As setfacl writes them: `user::rwx user:4002:r-x group::--- mask::r-x other::---`. */
export function encodeAcl(text: string): string {
  const entries = text.split(' ').map((entry) => {
    const [tag, id, perms] = entry.split(':');
    const bytes = Buffer.alloc(8);
    const name = tag as keyof typeof TAGS;
    const isOwner = id === '' && (name === 'user' || name === 'group');
    bytes.writeUInt16LE(isOwner ? OWNER_TAGS[name] : TAGS[name], 0);
    bytes.writeUInt16LE(
      perms.split('').reduce((bits: number, c, i) => (c === '-' ? bits : bits | (4 >> i)), 0),
      2,
    );
    bytes.writeUInt32LE(id === '' ? 0xffffffff : Number(id), 4);
    return bytes;
  });
  return Buffer.concat([Buffer.from([2, 0, 0, 0]), ...entries]).toString('latin1');
}

export function decodeAcl(value: string): string {
  const bytes = Buffer.from(value, 'latin1');
  const entries: string[] = [];
  for (let at = 4; at < bytes.length; at += 8) {
    const tag = bytes.readUInt16LE(at);
    const perms = bytes.readUInt16LE(at + 2);
    const id = bytes.readUInt32LE(at + 4);
    const name = { 1: 'user', 2: 'user', 4: 'group', 8: 'group', 16: 'mask', 32: 'other' }[tag] ?? String(tag);
    const text = [4, 2, 1].map((bit, i) => ((perms & bit) === 0 ? '-' : 'rwx'[i])).join('');
    entries.push(`${name}:${tag === 2 || tag === 8 ? String(id) : ''}:${text}`);
  }
  return entries.join(' ');
}

/** Sets an ACL; skips the case where the filesystem has none. */
export function setAcl(path: string, text: string, name = ACCESS_ACL): void {
  unlessUnsupported('ACLs', () => setxattr(path, name, encodeAcl(text)));
}

export function getAcl(path: string, name = ACCESS_ACL): string {
  return decodeAcl(getxattr(path, name));
}
