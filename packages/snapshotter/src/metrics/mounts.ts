import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Counts the mounts that a snapshotter's folder has to do with, by type of file system: those below it, and overlays whose
 * upper lies in it. Reads what this process sees: containers' roots are seen as long as both are in one mount namespace.
 * @param mountinfo as /proc/self/mountinfo has it
 */
export function countMounts(mountinfo: string, root: string): Map<string, number> {
  const counts = new Map<string, number>();
  const folder = `${root}/`;
  const upper = `upperdir=${join(root, 'snapshots')}/`;
  for (const line of mountinfo.split('\n')) {
    // ID parent device root mountpoint options [optional fields] - type source options
    const [before, after] = line.split(' - ');
    if (after === undefined) continue;
    const mountpoint = before.split(' ')[4] ?? '';
    const [type = '', , options = ''] = after.split(' ');
    if (
      !unescaped(mountpoint).startsWith(folder) &&
      !unescaped(options)
        .split(',')
        .some((each) => each.startsWith(upper))
    )
      continue;
    counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return counts;
}

/** How many mounts there are now. */
export async function readMounts(root: string): Promise<Map<string, number>> {
  return countMounts(await readFile('/proc/self/mountinfo', 'utf8'), root);
}

function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
