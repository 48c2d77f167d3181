import { readFileSync } from 'node:fs';

/** One line of /proc/self/mountinfo (proc(5)). */
export interface MountEntry {
  /** Unique while the mount lives; also `mnt_id` in /proc/PID/fdinfo. */
  readonly id: number;
  readonly parent: number;
  /** `major:minor` of the filesystem, what stat shows as st_dev. */
  readonly device: string;
  /** Absolute path as this process sees it. */
  readonly mountpoint: string;
  readonly type: string;
  readonly source: string;
  /** Options of the mount (`ro,nosuid`), not those of the filesystem. */
  readonly options: readonly string[];
}

/** Parses the text of a mountinfo file; lines that do not fit proc(5) are left out. */
export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ');
    if (left === undefined || right === undefined) continue;
    const fields = left.split(' ');
    const [type, source] = right.split(' ');
    if (fields.length < 6 || type === undefined || source === undefined) continue;
    entries.push({
      id: Number(fields[0]),
      parent: Number(fields[1]),
      device: fields[2],
      mountpoint: unescapeOctal(fields[4]),
      type,
      source: unescapeOctal(source),
      options: fields[5].split(','),
    });
  }
  return entries;
}

/** The mounts of this process's mount namespace, in the order they were made. */
export function readMountinfo(): MountEntry[] {
  return parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** The topmost mount at exactly this absolute path (later mounts cover earlier ones). */
export function mountAt(mountpoint: string, entries: readonly MountEntry[] = readMountinfo()): MountEntry | undefined {
  return entries.findLast((entry) => entry.mountpoint === mountpoint);
}

// The kernel writes space, tab, newline and backslash as three octal digits.
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
