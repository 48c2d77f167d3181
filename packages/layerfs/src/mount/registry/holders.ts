import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import type { MountEntry } from './mountinfo.js';

/** A process (or mount) that keeps a mount busy. */
export interface Holder {
  /** 0 when the holder is another mount on top, not a process. */
  readonly pid: number;
  /** Command line, shortened. */
  readonly command: string;
  /** How it is held: `cwd`, `root`, `exe`, `fd 3`, `mapped`, `mount`. */
  readonly what: string;
  /** The path held. */
  readonly path: string;
}

/**
 * Lists who holds a mount: working folders, roots, executables, open files, memory maps of every process that
 * this one may look at, and mounts standing on top of it. Reads only /proc, never the mount itself, so that
 * it cannot hang on a server that does not answer. Processes that end meanwhile, or may not be looked at,
 * are left out.
 */
export function findHolders(mount: MountEntry, all: readonly MountEntry[]): Holder[] {
  const holders: Holder[] = [];
  for (const entry of all) {
    if (entry.id !== mount.id && isInside(entry.mountpoint, mount.mountpoint) && entry.id > mount.id) {
      holders.push({ pid: 0, command: `${entry.type} mount`, what: 'mount', path: entry.mountpoint });
    }
  }
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const uses = usesOf(name, mount);
    if (uses.length === 0) continue;
    const command = commandOf(name);
    for (const [what, path] of uses) holders.push({ pid: Number(name), command, what, path });
  }
  return holders;
}

/** One line a process, for messages: `1234 (vim notes.txt): cwd /mnt, fd 3 /mnt/notes.txt`. */
export function describeHolders(holders: readonly Holder[]): string {
  const lines = new Map<string, string[]>();
  for (const holder of holders) {
    const who = holder.pid === 0 ? holder.command : `${String(holder.pid)} (${holder.command})`;
    const uses = lines.get(who) ?? [];
    uses.push(holder.pid === 0 ? `on ${holder.path}` : `${holder.what} ${holder.path}`);
    lines.set(who, uses);
  }
  return [...lines]
    .map(([who, uses]) => {
      const more = uses.length > 3 ? ` and ${String(uses.length - 3)} more` : '';
      return `${who}: ${uses.slice(0, 3).join(', ')}${more}`;
    })
    .join('\n');
}

function usesOf(pid: string, mount: MountEntry): [what: string, path: string][] {
  const uses: [string, string][] = [];
  for (const what of ['cwd', 'root', 'exe']) {
    const path = linkOf(`/proc/${pid}/${what}`);
    if (path !== undefined && isInside(path, mount.mountpoint)) uses.push([what, path]);
  }
  for (const fd of listOf(`/proc/${pid}/fd`)) {
    // The mount id is exact where a path could have been renamed or covered by another mount.
    const info = textOf(`/proc/${pid}/fdinfo/${fd}`);
    if (info === undefined || Number(/^mnt_id:\s*(\d+)/m.exec(info)?.[1]) !== mount.id) continue;
    uses.push([`fd ${fd}`, linkOf(`/proc/${pid}/fd/${fd}`) ?? '?']);
  }
  const mapped = new Set<string>();
  for (const line of (textOf(`/proc/${pid}/maps`) ?? '').split('\n')) {
    const match = /^\S+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) \d+ +(\/.*)$/.exec(line);
    if (match === null) continue;
    const device = `${String(Number.parseInt(match[1], 16))}:${String(Number.parseInt(match[2], 16))}`;
    if (device === mount.device) mapped.add(match[3]);
  }
  for (const path of mapped) uses.push(['mapped', path]);
  return uses;
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
}

function commandOf(pid: string): string {
  const line = (textOf(`/proc/${pid}/cmdline`) ?? '').split('\0').join(' ').trim();
  const text = line === '' ? (textOf(`/proc/${pid}/comm`) ?? '?').trim() : line;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function textOf(path: string): string | undefined {
  return ignoringGone(() => readFileSync(path, 'utf8'));
}

function linkOf(path: string): string | undefined {
  return ignoringGone(() => readlinkSync(path));
}

function listOf(path: string): string[] {
  return ignoringGone(() => readdirSync(path)) ?? [];
}

const GONE = new Set(['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL', 'ENOTDIR']);

// A process may end between two looks, and one of another user may not be looked at: both are no holders to us.
function ignoringGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (GONE.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
