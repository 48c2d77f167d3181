import { DT, getXattr } from '@layerfs/linux';
import { walk } from './walk.js';

const REDIRECT = 'trusted.overlay.redirect';

/**
 * Whether a file in a folder says that its content lies at another path. The kernel writes that of what was renamed in a mount, and
 * containerd unpacks it from any layer: where overlayfs has data-only layers, it would look for that path among all objects of the store.
 */
export async function hasRedirects(folder: string): Promise<boolean> {
  let found = false;
  await walk(folder, (dir, name, type) => {
    // Those of folders lead to lowers only. A type that readdir(3) does not tell may be that of a file.
    if (found || (type !== DT.REG && type !== DT.UNKNOWN)) return;
    const path = Buffer.concat([Buffer.from(`/proc/self/fd/${dir}/`), name]);
    found = getXattr(path, REDIRECT) !== undefined;
  });
  return found;
}
