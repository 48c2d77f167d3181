import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { layerfsOk } from '../../support/cli.js';
import { missing } from '../../support/needs.js';
import type { System } from './system.js';

/** What the kernel's side of FUSE cannot do. */
const BEYOND_FUSE = new Map([
  [
    'holes: COLLAPSE_RANGE and INSERT_RANGE move what is behind',
    'fuse_file_fallocate (fs/fuse/file.c) knows PUNCH_HOLE, ZERO_RANGE and KEEP_SIZE alone',
  ],
  ...[
    'chattr: +i: nobody changes a file',
    'chattr: +i: nobody changes the names in a folder',
    'chattr: +a: a file only grows',
    'chattr: +a: a folder only gets more names',
  ].map((name): [string, string] => [name, 'the flags are refused: no FUSE inode can have them (docs/union.md)']),
]);

/** The union of an image, which has the template as its only layer, and a writable folder. */
export const layerfsUnion: System = {
  name: 'layerfs union',
  beyond: BEYOND_FUSE,
  missing: () => missing('root', 'fuse'),
  async mount(work, template) {
    const env = { LAYERFS_ROOT: join(work, 'store') };
    const mountpoint = join(work, 'mnt');
    mkdirSync(mountpoint);
    await layerfsOk(['import', template, '--name', 'posix'], { env });
    await layerfsOk(['mount', 'posix', mountpoint, '--rw', '--name', 'posix', '--dev', '--suid'], { env });
    const folder = join(mountpoint, 'fresh');
    mkdirSync(folder);
    return {
      folder,
      lowerFolder: join(mountpoint, 'lower'),
      unmount: async () => {
        await layerfsOk(['unmount', mountpoint], { env });
      },
    };
  },
};
