import { readdirSync, readlinkSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { objectName } from '../../packages/layerfs/dist/mount/filesystem/objects.js';

/** Of some contents those whose objects a process has open. */
export function openObjects(pid: number, contents: readonly string[]): string[] {
  const targets = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      // Closed meanwhile.
      return '';
    }
  });
  return contents.filter((content) => {
    const name = objectName(createHash('sha256').update(content).digest('hex'));
    return targets.some((target) => target.endsWith(`/${name}`));
  });
}
