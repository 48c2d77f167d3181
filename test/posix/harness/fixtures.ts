/** Files of every type in one line, for preparing and in cases. */
import { O, S, chmod, close, fchown, lchown, mkdir, mknod, open, symlink } from './calls.js';
import { write } from './content.js';
import type { User } from './users.js';

export interface FileOptions {
  readonly mode?: number;
  readonly owner?: User;
  readonly content?: string;
}

/** A new regular file with exactly these attributes, whatever the umask and the parent. */
export function file(name: string, { mode = 0o644, owner, content = 'content\n' }: FileOptions = {}): void {
  const fd = open(name, O.WRONLY | O.CREAT | O.EXCL, 0o600);
  try {
    if (content !== '') write(fd, content);
    if (owner !== undefined) fchown(fd, owner.uid, owner.gid);
  } finally {
    close(fd);
  }
  chmod(name, mode);
}

/** A new folder with exactly these attributes. */
export function folder(name: string, { mode = 0o755, owner }: Omit<FileOptions, 'content'> = {}): void {
  mkdir(name, 0o700);
  if (owner !== undefined) lchown(name, owner.uid, owner.gid);
  chmod(name, mode);
}

/** The types that mknod makes without more rights than a user has, and those that tar knows. */
export const TYPES = ['file', 'folder', 'symlink', 'fifo', 'char', 'block'] as const;
export type Type = (typeof TYPES)[number];

export const TYPE_BITS: Record<Type, number> = {
  file: S.REG,
  folder: S.DIR,
  symlink: S.LNK,
  fifo: S.FIFO,
  char: S.CHR,
  block: S.BLK,
};

/** Makes one of every type; devices need root. */
export function make(type: Type, name: string, owner?: User): void {
  if (type === 'file') file(name);
  else if (type === 'folder') mkdir(name, 0o755);
  else if (type === 'symlink') symlink('no-such-target', name);
  else mknod(name, TYPE_BITS[type] | 0o644, type === 'fifo' ? 0 : (1 << 8) | 3);
  if (owner !== undefined) lchown(name, owner.uid, owner.gid);
}
