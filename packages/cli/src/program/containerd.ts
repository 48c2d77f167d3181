import { Option } from 'commander';
import { duration, mode } from './options.js';
import type { AddCommand } from './program.js';

/** What containerd is served with. */
export function addContainerdCommands(command: AddCommand): void {
  command(
    'snapshotter <action>',
    "serve containerd's snapshotter contract: the action is serve",
    (action) => `${action} snapshots`,
    () => import('../commands/snapshotter/serve.js'),
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
      const { applyConfig } = await import('../config/options.js');
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
    () => import('../commands/image/offer.js'),
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
}
