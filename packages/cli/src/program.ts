import { Command, InvalidArgumentError, Option } from 'commander';
import type { GlobalOptions } from './context.js';
import type { Doing } from './errors.js';
import { parseDuration, parseSize } from './format.js';
import { print } from './output.js';

/** What a command's module exports. */
export interface CommandModule {
  // Each takes its own arguments, then its options: commander has checked their number.
  readonly run: (...args: never[]) => Promise<void>;
}

/** Runs what was asked for; `load` brings in the command's code, `values` are its arguments and then its options. */
export type Runner = (load: () => Promise<CommandModule>, values: readonly unknown[], doing: Doing) => Promise<void>;

/**
 * The command line: every command with its options and help. A command's code is loaded only when it runs, so that help
 * and mistakes are answered quickly.
 */
export function buildProgram(version: string, runner: Runner): Command {
  const program = new Command('layerfs')
    .description('A union filesystem and layer store for container images.')
    .version(version)
    .option('--root <folder>', "the store (default: $LAYERFS_ROOT, else the system's for root and your own for others)")
    .option('-q, --quiet', 'print only what was asked for')
    .showHelpAfterError('(layerfs --help lists the commands)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'layerfs: ')),
      // As all that commands print: `layerfs --help | head` is no error.
      writeOut: (text) => print(text.replace(/\n$/, '')),
    })
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  layerfs import ./app.tar --name app      take in an image of docker save, skopeo or a build
  layerfs mount app /mnt                   look at its merged root
  layerfs explain /mnt/etc/passwd          which layer does this come from?
  layerfs unmount /mnt

layerfs COMMAND --help explains a command. Exit codes: 0 done, 1 failed, 2 wrong command line, 3 not found,
4 bad input, 5 not permitted, 6 in use, 130 interrupted.`,
    );

  /** Adds a command. `task` says after "cannot" what it does, from its arguments. */
  const command = (
    usage: string,
    description: string,
    task: (...args: string[]) => string,
    load: () => Promise<CommandModule>,
  ): Command => {
    const name = usage.split(' ')[0] ?? usage;
    return program
      .command(usage)
      .description(description)
      .showHelpAfterError(`(layerfs ${name} --help explains it)`)
      .action(async (...args: unknown[]) => {
        // Commander passes the arguments, the command's options, and the command itself.
        const values = args.slice(0, -2);
        const options = { ...program.opts<GlobalOptions>(), ...(args.at(-2) as object) };
        const doing = { command: name, task: task(...values.map((value) => value as string)) };
        await runner(load, [...values, options], doing);
      });
  };
  const json = (): Option => new Option('--json', 'print JSON (docs/cli.md)');

  command(
    'import <path>',
    'take images into the store',
    (path) => `import ${path === '-' ? 'from standard input' : path}`,
    () => import('./commands/image/import.js'),
  )
    .option('-n, --name <name>', 'name of the image, as in docker (NAME means NAME:latest)')
    .option('-p, --platform <os/arch>', "which platform of a multi-platform image (default: this machine's)")
    .addOption(
      new Option('--max-layer-size <size>', 'refuse a layer that is larger when uncompressed, such as 20G').argParser(
        size,
      ),
    )
    .addOption(json())
    .addHelpText(
      'after',
      `
PATH is an OCI layout folder, an oci-archive or docker-archive tar (docker save, podman save, skopeo copy), the tar of
a root filesystem (plain, gzip or zstd), a folder, or - for standard input. PATH:TAG picks one image of several.
Layers that are in the store already are not read again.

Examples:
  layerfs import ./layout --name app:1.2
  docker save alpine | layerfs import -
  layerfs import rootfs.tar.gz --name base`,
    );
  const registry = (added: Command): Command =>
    added
      .option('--plain-http', 'without TLS (a registry on this machine is asked so where it has none)')
      .option('--ca <file>', 'trust this authority, too (PEM)')
      .option('--cert <file>', 'prove who we are with this certificate (PEM)')
      .option('--key <file>', 'its key, where it is not in the same file')
      .option('--hosts-dir <folder>', "settings and mirrors of registries (default: containerd's and Docker's certs.d)")
      .option(
        '--config <file>',
        'TOML with a section registries (default: $LAYERFS_CONFIG, or config.toml of layerfs)',
      );
  registry(
    command(
      'pull <ref>',
      'take an image from a registry into the store',
      (ref) => `pull ${ref}`,
      () => import('./commands/registry/pull.js'),
    ),
  )
    .option('-n, --name <name>', 'name of the image, in place of REF')
    .option('-p, --platform <os/arch>', "which platform of a multi-platform image (default: this machine's)")
    .option('--all-platforms', 'every platform; the names of the others get theirs at the end')
    .addOption(
      new Option('--max-layer-size <size>', 'refuse a layer that is larger when uncompressed, such as 20G').argParser(
        size,
      ),
    )
    .addOption(json())
    .addHelpText(
      'after',
      `
REF is [HOST/]PATH[:TAG][@DIGEST]. Layers that are in the store already are not fetched, and neither is what had come when an
earlier pull was interrupted. Credentials are those of docker login and podman login, and of their helpers.

Examples:
  layerfs pull debian:12
  layerfs pull localhost:5000/team/app@sha256:…`,
    );
  registry(
    command(
      'push <image> [ref]',
      'put an image into a registry',
      (image, ref) => `push ${image}${ref === undefined ? '' : ` to ${ref}`}`,
      () => import('./commands/registry/push.js'),
    ),
  )
    .option('--all-platforms', 'the whole index that it was pulled with')
    .addOption(json());
  registry(
    command(
      'copy <ref1> <ref2>',
      'copy an image from one registry to another',
      (from, to) => `copy ${from} to ${to}`,
      () => import('./commands/registry/copy.js'),
    ),
  )
    .option('-p, --platform <os/arch>', "which platform of a multi-platform image (default: this machine's)")
    .option('--all-platforms', 'the whole index, as it is')
    .addOption(json())
    .addHelpText(
      'after',
      `
Digests stay what they are. Nothing is kept here: layers that the store has come from there, the others go straight through. Within one
registry it takes blobs from the other repository itself.

Example:
  layerfs copy debian:12 localhost:5000/mirror/debian:12 --all-platforms`,
    );
  registry(
    command(
      'login <registry>',
      'keep credentials for a registry, once it has taken them',
      (name) => `log in to ${name}`,
      () => import('./commands/registry/login.js'),
    ),
  )
    .option('-u, --username <name>', 'the user (default: asked for)')
    .option('--password-stdin', 'read the password from standard input (default: asked for, and not shown)')
    .addHelpText(
      'after',
      `
They are kept where docker, podman and skopeo find them, too: by the credential helper that is configured, else in a file of mode 0600.

Examples:
  layerfs login registry.example:5000
  pass registry | layerfs login registry.example:5000 --username me --password-stdin`,
    );
  command(
    'logout <registry>',
    'forget the credentials for a registry',
    (name) => `log out of ${name}`,
    () => import('./commands/registry/logout.js'),
  );
  registry(
    command(
      'tags <repository>',
      'list what a repository of a registry has',
      (repository) => `list the tags of ${repository}`,
      () => import('./commands/registry/tags.js'),
    ),
  ).addOption(json());
  command(
    'export <image> <out>',
    'write an image as OCI layout folder, or as oci-archive (FILE.tar or -)',
    (image) => `export ${image}`,
    () => import('./commands/image/export.js'),
  )
    .addOption(json())
    .addHelpText(
      'after',
      `
All digests are those that the image came with. Where compressed blobs were dropped (layerfs prune --blobs), layers are
written uncompressed, with the same diffIDs, in a new manifest that says so.

Examples:
  layerfs export app ./layout
  layerfs export app - | docker load`,
    );
  command(
    'images',
    'list the images',
    () => 'list the images',
    () => import('./commands/image/images.js'),
  ).addOption(json());
  command(
    'inspect <image>',
    "show an image's manifest, config and layers",
    (image) => `inspect ${image}`,
    () => import('./commands/image/inspect.js'),
  ).addOption(new Option('--json', 'print JSON (it always does)'));
  command(
    'history <image>',
    'show how an image was made, newest step first',
    (image) => `show the history of ${image}`,
    () => import('./commands/image/history.js'),
  ).addOption(json());
  command(
    'tag <image> <name>',
    'give an image one more name',
    (image) => `tag ${image}`,
    () => import('./commands/image/tag.js'),
  ).addOption(json());
  command(
    'rmi <image...>',
    'take names away, and with its last name an image and what only it used',
    (images) => `remove ${[images].flat().join(', ')}`,
    () => import('./commands/image/rmi.js'),
  )
    .option('-f, --force', 'also when mounted or with snapshots: its layers stay as long as those need them')
    .addOption(json());
  command(
    'du',
    'show what images take, share and saved',
    () => 'add up what images take',
    () => import('./commands/image/du.js'),
  ).addOption(json());
  command(
    'tree <image> [path]',
    'list the merged root of an image',
    (image) => `list ${image}`,
    () => import('./commands/content/tree.js'),
  )
    .option('-l, --layers', 'show which layer each entry comes from')
    .addOption(new Option('--json', 'print JSON, one object a line (docs/cli.md)'))
    .addHelpText('after', '\nExamples:\n  layerfs tree app /etc\n  layerfs tree app --layers | grep passwd');
  command(
    'cat <image> <path>',
    'print a file of an image',
    (image, path) => `print ${path} of ${image}`,
    () => import('./commands/content/cat.js'),
  );
  command(
    'checkout <image> <folder>',
    'write the merged root as plain files to a new or empty folder',
    (image, folder) => `check out ${image} to ${folder}`,
    () => import('./commands/content/checkout.js'),
  ).addOption(json());
  command(
    'explain <image-or-path> [path]',
    'say which layer a path comes from and what it hides',
    (target, path) => `explain ${path === undefined ? target : `${path} of ${target}`}`,
    () => import('./commands/content/explain.js'),
  )
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  layerfs explain /mnt/etc/passwd     a path below a mountpoint
  layerfs explain app /etc/passwd     the same without a mount`,
    );
  command(
    'snapshots',
    'list the writable snapshots',
    () => 'list the snapshots',
    () => import('./commands/snapshot/snapshots.js'),
  ).addOption(json());
  command(
    'diff <what> [image]',
    'list what was changed: A added, C changed, D deleted',
    (what, image) => `compare ${image === undefined ? what : `${what} and ${image}`}`,
    () => import('./commands/snapshot/diff.js'),
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
    () => import('./commands/snapshot/commit.js'),
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
    () => import('./commands/snapshot/rm.js'),
  ).addOption(json());
  command(
    'mount <image> <mountpoint>',
    'mount the merged root of an image, read-only or as a writable snapshot',
    (image, mountpoint) => `mount ${image} on ${mountpoint}`,
    () => import('./commands/mount/mount.js'),
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
    () => import('./commands/mount/mounts.js'),
  ).addOption(json());
  command(
    'unmount <mountpoint>',
    'unmount',
    (mountpoint) => `unmount ${mountpoint}`,
    () => import('./commands/mount/unmount.js'),
  )
    .alias('umount')
    .option('-l, --lazy', 'even when in use: out of sight at once, ended when the last user is gone')
    .addOption(json());
  command(
    'snapshotter <action>',
    "serve containerd's snapshotter contract: the action is serve",
    (action) => `${action} snapshots`,
    () => import('./commands/snapshotter/serve.js'),
  )
    .option(
      '--socket <path>',
      'unix socket to listen on; its owner alone may use it. Not needed when systemd hands one over',
    )
    .addOption(
      new Option(
        '--socket-mode <mode>',
        "the socket's permissions (default: 600): who may write to it may mount anything",
      ).argParser(mode),
    )
    .option('--socket-group <group>', 'name or number of the group that the socket belongs to')
    .option('--config <file>', 'TOML with these options as keys, _ for -; the command line goes before it')
    .option(
      '--metrics <address>',
      'serve numbers for Prometheus on [HOST:]PORT; without HOST on the loopback interface',
    )
    .addOption(
      new Option(
        '--mount-mode <mode>',
        'how containers see layers of the store: kernel (EROFS and overlayfs, Linux 6.5), fuse (a process for each stack), folder (plain files), auto (default: kernel where that works, else folder)',
      ).choices(['auto', 'kernel', 'fuse', 'folder']),
    )
    .addOption(
      new Option(
        '--seal <when>',
        'when what containerd unpacked becomes a layer of the store: behind (default), never, commit (at once, for tests)',
      ).choices(['behind', 'never', 'commit']),
    )
    .hook('preAction', async (self) => {
      const { config } = self.opts<{ config?: string }>();
      if (config === undefined) return;
      const { applyConfig } = await import('./config/options.js');
      applyConfig(self, config);
    })
    .addHelpText(
      'after',
      `
Runs until SIGTERM or Ctrl-C, and writes one JSON line for each request to standard error (not with --quiet). Snapshots lie in the
store's folder snapshotter/. In containerd's configuration:

  [proxy_plugins.layerfs]
    type = "snapshot"
    address = "PATH OF THE SOCKET"

Then: ctr run --snapshotter layerfs ... Units for systemd are in contrib/systemd.`,
    );
  command(
    'offer <image>',
    'tell containerd that it need not unpack the layers of an image',
    (image) => `offer ${image} to containerd`,
    () => import('./commands/image/offer.js'),
  )
    .option('--address <path>', "containerd's socket", '/run/containerd/containerd.sock')
    .option('--namespace <name>', "containerd's namespace", 'default')
    .option('--snapshotter <name>', "what containerd's configuration calls layerfs", 'layerfs')
    .addOption(
      new Option(
        '--for <time>',
        'how long containerd keeps them without an image, such as 1h (default: 24h)',
      ).argParser(duration),
    )
    .addHelpText(
      'after',
      `
layerfs snapshotter serve must run on the same store. Then ctr image import, ctr image pull and ctr run find the layers unpacked.

Examples:
  layerfs import app.tar && layerfs offer app
  ctr image import --snapshotter layerfs app.tar`,
    );
  command(
    'doctor',
    'say what this machine offers, what is used of it, and how to get more',
    () => 'check this machine',
    () => import('./commands/mount/doctor.js'),
  )
    .addOption(json())
    .addHelpText(
      'after',
      '\nExit codes: 0 images can be mounted here, 6 something that mounts need is missing or broken.',
    );
  command(
    'prune',
    'remove images by policy, and drop what can be made again',
    () => 'prune',
    () => import('./commands/image/prune.js'),
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
    'gc',
    'free what nothing refers to',
    () => 'collect garbage',
    () => import('./commands/image/gc.js'),
  )
    .option('--dry-run', 'only say what would go')
    .option('--why', 'also say why each thing stays')
    .addOption(json());
  command(
    'lease [image...]',
    'keep images for some time, whatever is removed meanwhile',
    (images) => `lease ${[images].flat().join(', ')}`,
    () => import('./commands/lease/create.js'),
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
    () => import('./commands/lease/list.js'),
  ).addOption(json());
  command(
    'unlease <lease...>',
    'give leases back; gc then frees what only they kept',
    (ids) => `give back ${[ids].flat().join(', ')}`,
    () => import('./commands/lease/release.js'),
  ).addOption(json());
  registry(
    command(
      'fsck',
      'check everything that the store claims, and repair it',
      () => 'check the store',
      () => import('./commands/store/fsck.js'),
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
  const completion = command(
    'completion <shell> [words...]',
    'print what makes a shell complete these commands: bash, zsh or fish',
    (shell) => `complete for ${shell}`,
    () => import('./commands/completion.js'),
  ).addHelpText(
    'after',
    `
Names of images, snapshots, leases and mountpoints are those of the store. WORDS are for the script itself: it asks with them.

Examples:
  layerfs completion bash > /etc/bash_completion.d/layerfs
  layerfs completion zsh > /usr/local/share/zsh/site-functions/_layerfs
  layerfs completion fish > ~/.config/fish/completions/layerfs.fish`,
  );
  completion.registeredArguments[0].choices(['bash', 'zsh', 'fish']);
  return program;
}

function mode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new InvalidArgumentError('Give permissions such as 660.');
  return Number.parseInt(text, 8);
}

function duration(text: string): number {
  const time = parseDuration(text);
  if (time === undefined) throw new InvalidArgumentError('Give a time such as 30d, 12h or 45m.');
  return time;
}

function size(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes === 0) throw new InvalidArgumentError('Give a size such as 500M or 20G.');
  return bytes;
}
