import { Option } from 'commander';
import { json } from './options.js';
import type { AddCommand } from './program.js';

/** Mounts, and what they need of the machine. */
export function addMountCommands(command: AddCommand): void {
  command(
    'mount <image> <mountpoint>',
    'mount the merged root of an image, read-only or as a writable snapshot',
    (image, mountpoint) => `mount ${image} on ${mountpoint}`,
    () => import('../commands/mount/start.js'),
  )
    .option('-f, --foreground', 'stay; Ctrl-C and SIGTERM unmount')
    .option('-v, --verbose', 'say how data is served and why')
    .option('--rw', 'writable: changes go to a snapshot, which is kept and can be mounted again')
    .addOption(
      new Option('--name <name>', 'the snapshot to make, or to mount again (default: a new one); implies --rw').implies(
        {
          rw: true,
        },
      ),
    )
    .addOption(
      new Option('--volatile', 'do not wait for the disk, for what need not survive a crash; implies --rw').implies({
        rw: true,
      }),
    )
    .addOption(
      new Option(
        '--mount-mode <mode>',
        'fuse (default): a process serves it; kernel: EROFS and overlayfs, without a process (root, Linux 6.5); auto: kernel where that works, else fuse',
      ).choices(['fuse', 'kernel', 'auto']),
    )
    .addOption(
      new Option(
        '--transport <name>',
        'who speaks with the kernel: kernel (we do), fuse-native (libfuse 2, which can less: see docs/mount.md), auto (default: kernel on Linux)',
      ).choices(['auto', 'kernel', 'fuse-native']),
    )
    .addOption(
      new Option('--verify <when>', 'check the sha256 of what is read, the first time it is opened').choices(['open']),
    )
    .option('--trace <file>', 'log each request with its duration')
    .option('--profile <file>', 'write latencies of each opcode, and a CPU profile of the server, when it ends')
    .option('--passthrough', 'let the kernel read file data itself where it can (default: when files are large)')
    .option('--no-passthrough', 'serve file data from the serving process, and the page cache')
    .option('--dev', 'let device files work')
    .option('--suid', 'let setuid programs and file capabilities work')
    .option('--allow-other', 'without root: let other users in, too')
    .addOption(json())
    .addHelpText(
      'after',
      `
The command returns when the mount is usable and leaves a background process that serves it, unless the kernel does.

Examples:
  layerfs mount app /mnt
  layerfs mount app /mnt --rw --name work     layerfs snapshots, diff, commit and rm go on from there
  layerfs mount app /mnt --mount-mode kernel  without a serving process
  layerfs mount app /mnt --foreground --trace requests.log`,
    );
  command(
    'mounts',
    'list the mounts',
    () => 'list the mounts',
    () => import('../commands/mount/mounts.js'),
  ).addOption(json());
  command(
    'unmount <mountpoint>',
    'unmount',
    (mountpoint) => `unmount ${mountpoint}`,
    () => import('../commands/mount/unmount.js'),
  )
    .alias('umount')
    .option('-l, --lazy', 'even when in use: out of sight at once, ended when the last user is gone')
    .addOption(json());
  command(
    'doctor',
    'say what this machine offers, what is used of it, and how to get more',
    () => 'check this machine',
    () => import('../commands/mount/doctor.js'),
  )
    .addOption(json())
    .addHelpText(
      'after',
      '\nExit codes: 0 images can be mounted here, 6 something that mounts need is missing or broken.',
    );
}
