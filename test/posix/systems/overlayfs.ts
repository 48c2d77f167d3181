import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { mount, umount2 } from '@layerfs/linux';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { missing } from '../../support/needs.js';
import type { System } from './system.js';

/** Kernel overlayfs with all that brings it closer to POSIX; in a user namespace it takes none of that. */
const OPTIONS = hasMachineIds() ? 'redirect_dir=on,metacopy=on,index=on' : 'userxattr';

export const overlayfs: System = {
  name: 'kernel overlayfs',
  missing: () => missing('root'),
  mount(work, template) {
    const [upper, workdir, merged] = ['upper', 'work', 'merged'].map((name) => {
      const folder = join(work, name);
      mkdirSync(folder);
      return folder;
    });
    mount('overlay', merged, 'overlay', 0, `lowerdir=${template},upperdir=${upper},workdir=${workdir},${OPTIONS}`);
    const folder = join(merged, 'fresh');
    mkdirSync(folder);
    const unmount = (): Promise<void> => {
      umount2(merged);
      return Promise.resolve();
    };
    return Promise.resolve({ folder, lowerFolder: join(merged, 'lower'), unmount });
  },
};
