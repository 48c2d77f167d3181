import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { watchSignals, type GlobalOptions } from './context.js';
import { explainError } from './errors.js';
import { note } from './output.js';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** A command's code, loaded only when it runs, so that `--help` and completion are quick. */
type Run = (...args: never[]) => Promise<void>;

const program = new Command('layerfs')
  .description('A union filesystem and layer store for container images.')
  .version(version)
  .addOption(
    new Option('--root <folder>', "the store (default: $LAYERFS_ROOT, else the system's or your own)").argParser(
      String,
    ),
  )
  .option('-q, --quiet', 'print only what was asked for')
  .showHelpAfterError('(see layerfs --help)')
  .configureHelp({ sortSubcommands: false })
  .addHelpText(
    'after',
    `
Examples:
  layerfs import ./alpine.tar --name alpine     take an image of docker save, skopeo or a build
  layerfs mount alpine /mnt                     look at its merged root
  layerfs explain /mnt/etc/passwd               which layer does this come from?
  layerfs unmount /mnt

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 not found, 4 bad input, 5 not permitted, 6 in use, 130 interrupted.`,
  )
  .exitOverride();

function command(usage: string, description: string, load: () => Promise<{ run: Run }>): Command {
  return program
    .command(usage)
    .description(description)
    .exitOverride()
    .action(async (...args: unknown[]) => {
      // Commander passes the arguments, the command's options, and the command itself.
      const options = { ...program.opts<GlobalOptions>(), ...(args.at(-2) as object) };
      const { run } = await load();
      await (run as (...values: unknown[]) => Promise<void>)(...args.slice(0, -2), options);
    });
}

const json = () => new Option('--json', 'print JSON');

command('import <path>', 'take images into the store', () => import('./commands/image/import.js'))
  .option('-n, --name <name>', 'name of the image, as in docker (NAME means NAME:latest)')
  .option('-p, --platform <os/arch>', "which platform of a multi-platform image (default: this machine's)")
  .option('--all-platforms', 'all platforms of a multi-platform image')
  .option('--max-layer-size <size>', 'refuse a layer that is larger when uncompressed, such as 20G')
  .addOption(json())
  .addHelpText(
    'after',
    `
PATH is an OCI layout folder, an oci-archive or docker-archive tar (docker save, podman save, skopeo copy), the tar of
a root filesystem (plain, gzip or zstd), a folder, or - for standard input. PATH:TAG picks one image of several.

Examples:
  layerfs import ./layout --name app:1.2
  docker save alpine | layerfs import -
  layerfs import rootfs.tar.gz --name base`,
  );
command(
  'export <image> <out>',
  'write an image as OCI layout folder, or as oci-archive (FILE.tar or -)',
  () => import('./commands/image/export.js'),
).addOption(json());
command('images', 'list the images', () => import('./commands/image/images.js')).addOption(json());
command(
  'inspect <image>',
  "show an image's manifest, config and layers",
  () => import('./commands/image/inspect.js'),
).addOption(new Option('--json', 'print JSON (it always does)'));
command(
  'history <image>',
  'show how an image was made, newest step first',
  () => import('./commands/image/history.js'),
).addOption(json());
command('tag <image> <name>', 'give an image one more name', () => import('./commands/image/tag.js')).addOption(json());
command('rmi <image...>', 'remove images, and what only they used', () => import('./commands/image/rmi.js'))
  .option('-f, --force', 'also when mounted: its layers stay until it is unmounted')
  .addOption(json());
command('du', 'show what images take, share and saved', () => import('./commands/image/du.js')).addOption(json());
command('tree <image> [path]', 'list the merged root of an image', () => import('./commands/content/tree.js'))
  .option('-l, --layers', 'show which layer each entry comes from')
  .addOption(json());
command('cat <image> <path>', 'print a file of an image', () => import('./commands/content/cat.js'));
command(
  'checkout <image> <folder>',
  'write the merged root as plain files',
  () => import('./commands/content/checkout.js'),
).addOption(json());
command(
  'explain <image-or-path> [path]',
  'say which layer a path comes from and what it hides',
  () => import('./commands/content/explain.js'),
)
  .addOption(json())
  .addHelpText(
    'after',
    `
Examples:
  layerfs explain /mnt/etc/passwd        a path below a mountpoint
  layerfs explain alpine /etc/passwd     the same without a mount`,
  );
command(
  'mount <image> <mountpoint>',
  'mount the merged root of an image, read-only',
  () => import('./commands/mount/mount.js'),
)
  .option('-f, --foreground', 'stay; Ctrl-C unmounts')
  .option('-v, --verbose', 'say how data is served and why')
  .option('--trace <file>', 'log each request with its duration')
  .option('--no-passthrough', 'serve file data from this process even where the kernel could')
  .option('--dev', 'let device files work')
  .option('--suid', 'let setuid programs and file capabilities work')
  .option('--allow-other', 'without root: let other users in, too')
  .addOption(json());
command('mounts', 'list the mounts', () => import('./commands/mount/mounts.js')).addOption(json());
command('unmount <mountpoint>', 'unmount', () => import('./commands/mount/unmount.js'))
  .alias('umount')
  .option('-l, --lazy', 'even when in use: out of sight at once, ended when the last user is gone');
command('doctor', 'say what this machine can do, and why not', () => import('./commands/mount/doctor.js')).addOption(
  json(),
);
command('prune', 'drop what can be made again', () => import('./commands/image/prune.js'))
  .option('--blobs', 'compressed layer blobs; export then writes uncompressed layers')
  .addOption(json());
command('gc', 'free what nothing refers to', () => import('./commands/image/gc.js')).addOption(json());

watchSignals();
try {
  await program.parseAsync();
} catch (error) {
  const { message, exit } = explainError(error);
  if (message !== undefined) note(`layerfs: ${message}`);
  process.exitCode = exit;
}
