import { Option } from 'commander';
import { duration, json, size, withRegistryOptions } from './options.js';
import type { AddCommand } from './program.js';

/** The store as a whole: what stays, what goes, whether all is sound. */
export function addStoreCommands(command: AddCommand): void {
  command(
    'gc',
    'free what nothing refers to',
    () => 'collect garbage',
    () => import('../commands/image/gc.js'),
  )
    .option('--dry-run', 'only say what would go')
    .option('--why', 'also say why each thing stays')
    .addOption(json());
  command(
    'prune',
    'remove images by policy, and drop what can be made again',
    () => 'prune',
    () => import('../commands/image/prune.js'),
  )
    .addOption(new Option('--unused-for <time>', 'images not used for so long, such as 30d or 12h').argParser(duration))
    .addOption(
      new Option('--keep-under <size>', 'images longest unused, until the store is no larger, such as 20G').argParser(
        size,
      ),
    )
    .option('--blobs', 'compressed layer blobs; export then writes uncompressed layers')
    .option('--dry-run', 'only say what would go')
    .hook('preAction', (self) => {
      const { unusedFor, keepUnder, blobs } = self.opts();
      if ([unusedFor, keepUnder, blobs].every((value) => value === undefined)) {
        self.error('layerfs: say what to remove: --unused-for TIME, --keep-under SIZE or --blobs');
      }
    })
    .addOption(json())
    .addHelpText(
      'after',
      `
Images that are mounted, leased, in use by a command, or have snapshots stay.

Examples:
  layerfs prune --unused-for 30d --dry-run
  layerfs prune --keep-under 20G`,
    );
  command(
    'lease [image...]',
    'keep images for some time, whatever is removed meanwhile',
    (images) => `lease ${[images].flat().join(', ')}`,
    () => import('../commands/lease/create.js'),
  )
    .addOption(new Option('--for <time>', 'how long, such as 45m, 12h or 7d (default: 1d)').argParser(duration))
    .option('--label <text>', 'who wants it and what for')
    .option('--renew <lease>', 'in place of a new one: let this one end so long from now')
    .hook('preAction', (self) => {
      if ((self.opts()['renew'] === undefined) === (self.args.length === 0)) {
        self.error('layerfs: give images to keep, or with --renew a lease');
      }
    })
    .addOption(json())
    .addHelpText(
      'after',
      `
For programs that need an image between two commands of theirs. gc, prune and rmi leave leased images alone.

Examples:
  id=$(layerfs lease app:1.2 --for 2h --label 'nightly tests' --quiet)
  layerfs lease --renew $id --for 2h
  layerfs unlease $id`,
    );
  command(
    'leases',
    'list the leases',
    () => 'list the leases',
    () => import('../commands/lease/list.js'),
  ).addOption(json());
  command(
    'unlease <lease...>',
    'give leases back; gc then frees what only they kept',
    (ids) => `give back ${[ids].flat().join(', ')}`,
    () => import('../commands/lease/release.js'),
  ).addOption(json());
  withRegistryOptions(
    command(
      'fsck',
      'check everything that the store claims, and repair it',
      () => 'check the store',
      () => import('../commands/store/fsck.js'),
    ),
  )
    .option('--repair', 'repair what can be repaired; what is lost is moved to quarantine, never removed')
    .option(
      '--from <path>',
      'with --repair: an archive, layout or tar to take lost content from; may be given several times',
      (path: string, paths: string[] | undefined) => [...(paths ?? []), path],
    )
    .option('--afresh', 'begin anew where an earlier check was interrupted')
    .addOption(json())
    .addHelpText(
      'after',
      `
Reads all of the store with every processor. It runs beside imports and mounts; a repair waits until nobody else adds or
removes. Interrupted, it goes on where it was the next time. Exit codes: 0 sound, 7 all problems repaired, 8 damaged.

Examples:
  layerfs fsck
  layerfs fsck --repair --from app.tar --from ./layout`,
    );
}
