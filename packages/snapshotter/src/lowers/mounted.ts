import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

/** /proc/PID/mountinfo of each mount namespace that has a process. */
function allMounts(): string[] {
  const seen = new Map<string, string>();
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
      if (!seen.has(namespace)) seen.set(namespace, readFileSync(`/proc/${pid}/mountinfo`, 'latin1'));
    } catch (error) {
      // It ended meanwhile, or is not for this user to look at.
      const { code } = error as NodeJS.ErrnoException;
      if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL'].includes(code ?? '')) throw error;
    }
  }
  return [...seen.values()];
}

/** The folders of snapshots, shown with other owners (mapped.ts). */
const MAPPED = /(?<=[/=:])mapped\/[0-9a-f]{16}\/s\//g;

/** Tells whether folders of snapshots are part of a mount, wherever that is. */
export class MountedFolders {
  readonly #snapshots: string;
  readonly #lines: readonly string[];
  readonly #bound: string | undefined;

  /**
   * Looks at all mounts there are.
   * @param snapshots the folder that they lie in
   */
  constructor(snapshots: string, mounts: readonly string[] = allMounts()) {
    this.#snapshots = escaped(snapshots);
    this.#lines = mounts
      .flatMap((text) => text.split('\n'))
      .filter((line) => line.includes('/fs'))
      .map((line) => line.replaceAll(MAPPED, 'snapshots/'));
    this.#bound = inFilesystem(this.#snapshots);
  }

  /** Of an overlay, in whichever way containerd wrote its path, or as a bind mount. */
  has(id: string): boolean {
    const folder = `${id}/fs`;
    return this.#lines.some((line) => {
      if (this.#bound !== undefined && line.includes(` ${this.#bound}/${folder} `)) return true;
      if (hasPath(line, `${this.#snapshots}/${folder}`)) return true;
      // containerd shortens many lowers: then the upper tells whose they are, or they may be ours.
      if (line.includes('upperdir=') && !line.includes(`upperdir=${this.#snapshots}/`)) return false;
      return hasPath(line, folder) || hasPath(line, `snapshots/${folder}`);
    });
  }
}

/** As the kernel writes paths; one char a byte. */
function escaped(path: string): string {
  return Buffer.from(path)
    .toString('latin1')
    .replaceAll(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** Major and minor number of a folder's filesystem, and its path in that, as mountinfo shows what is bound: `8:1 /path`. */
function inFilesystem(folder: string): string | undefined {
  let best: { readonly mountpoint: string; readonly found: string } | undefined;
  for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    const [, , device, root, mountpoint] = line.split(' ');
    if (mountpoint === undefined) continue;
    const below = mountpoint === '/' ? folder : folder.slice(mountpoint.length);
    if (mountpoint !== '/' && (!folder.startsWith(mountpoint) || !below.startsWith('/'))) continue;
    // Of several on one place the last one is on top.
    if (mountpoint.length < (best?.mountpoint.length ?? 0)) continue;
    best = { mountpoint, found: `${device} ${root === '/' ? '' : root}${below}` };
  }
  return best?.found;
}

/** Whether a line names a path among an overlay's layers. */
function hasPath(line: string, path: string): boolean {
  for (const part of [`=${path}`, `:${path}`]) {
    for (let at = line.indexOf(part); at >= 0; at = line.indexOf(part, at + 1)) {
      if (/[,:\s]/.test(line[at + part.length] ?? ' ')) return true;
    }
  }
  return false;
}
