import { json } from './options.js';
import type { AddCommand } from './program.js';

/** Writable snapshots of images. */
export function addSnapshotCommands(command: AddCommand): void {
  command(
    'snapshots',
    'list the writable snapshots',
    () => 'list the snapshots',
    () => import('../commands/snapshot/snapshots.js'),
  ).addOption(json());
  command(
    'diff <what> [image]',
    'list what was changed: A added, C changed, D deleted',
    (what, image) => `compare ${image === undefined ? what : `${what} and ${image}`}`,
    () => import('../commands/snapshot/diff.js'),
  )
    .addOption(json())
    .addHelpText(
      'after',
      `
WHAT is a snapshot or where one is mounted: what was changed since it was made of its image. With two images: what has
to be changed in the first to get the second.

Examples:
  layerfs diff work
  layerfs diff /mnt
  layerfs diff app:1 app:2`,
    );
  command(
    'commit <snapshot> <name>',
    'make an image of a snapshot: its image, and a layer of what was changed',
    (snapshot, name) => `commit ${snapshot} as ${name}`,
    () => import('../commands/snapshot/commit.js'),
  )
    .option('-m, --message <text>', 'a comment for the history')
    .option('-a, --author <text>', 'who made it, such as "Name <mail@example.org>"')
    .option('--allow-empty', 'also when nothing was changed')
    .addOption(json())
    .addHelpText(
      'after',
      `
SNAPSHOT is a snapshot's name, or where it is mounted. It stays as it is.

Examples:
  layerfs commit work app:2 -m 'newer certificates'
  layerfs commit /mnt app:2`,
    );
  command(
    'rm <snapshot...>',
    'remove snapshots with all that was changed in them',
    (snapshots) => `remove ${[snapshots].flat().join(', ')}`,
    () => import('../commands/snapshot/rm.js'),
  ).addOption(json());
}
