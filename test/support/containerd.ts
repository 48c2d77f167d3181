/** A containerd of its own, in a temporary folder: its native snapshotter's folders are compared with mounts, and it drives our snapshotter. */
import { spawn } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Excuse } from '../compare/compare.js';
import { run } from '../images/oci.js';
import { scratchFolder } from './scratch.js';

const SNAPSHOTTER = ['--snapshotter', 'native'];

export interface Containerd {
  /** Runs ctr against it. */
  ctr: (...args: string[]) => Promise<{ stdout: string }>;
  /** Its process. */
  pid: number;
  /** Imports an archive, unpacks it and gives the folder of the snapshot with this chainID. */
  unpack: (archive: string, chainId: string) => Promise<string>;
  stop: () => Promise<void>;
}

/**
 * Starts one and waits until it answers.
 * @param proxy socket of a snapshotter, which it knows as `layerfs`
 * @param folder where it lies, so that it can be started again; its own, which goes with it, unless told
 */
export async function startContainerd(proxy?: string, own?: string): Promise<Containerd> {
  const folder = own ?? scratchFolder('layerfs-containerd-');
  const socket = join(folder, 'c.sock');
  const config = [
    'version = 2',
    `root = "${folder}/root"`,
    `state = "${folder}/state"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    '[grpc]',
    `address = "${socket}"`,
    // Garbage is collected after each deletion, not some time later that grows with the machine's load.
    '[plugins."io.containerd.gc.v1.scheduler"]',
    'pause_threshold = 0.5',
    'deletion_threshold = 1',
    ...(proxy === undefined ? [] : ['[proxy_plugins.layerfs]', 'type = "snapshot"', `address = "${proxy}"`]),
  ];
  writeFileSync(join(folder, 'config.toml'), config.join('\n'));
  const daemon = spawn('containerd', ['-c', join(folder, 'config.toml')], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => daemon.once('close', () => resolve()));
  for (let tries = 0; !existsSync(socket) && tries < 300; tries++) await sleep(100);
  const ctr = (...args: string[]): Promise<{ stdout: string }> => run('ctr', ['-a', socket, ...args]);
  return {
    ctr,
    pid: daemon.pid ?? 0,
    async unpack(archive, chainId) {
      await ctr('image', 'import', ...SNAPSHOTTER, archive);
      // The native snapshotter's view is a bind mount of a folder of its own: `ctr` prints it as JSON.
      const { stdout } = await ctr('snapshot', ...SNAPSHOTTER, 'view', '--mounts', `view-${chainId}`, chainId);
      const mounts = JSON.parse(stdout) as { Source: string }[];
      return mounts[0].Source;
    },
    async stop() {
      daemon.kill('SIGTERM');
      await ended;
      if (own === undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

const SPLIT = ['odd/dev/fifo', 'odd/dev/fifo-too', 'odd/links/relative', 'odd/links/second-symlink'];

/** In what containerd 1.6 with its native snapshotter departs from the image; umoci agrees with layerfs on each of these. */
export const CONTAINERD_EXCUSES: Excuse[] = [
  {
    reason: 'trusted.* attributes are left out',
    matches: ({ field, left, right }) =>
      field === 'xattrs' && left !== right && withoutTrusted(left) === withoutTrusted(right),
  },
  {
    reason: 'folders are copied from snapshot to snapshot without their times',
    matches: ({ field, right }) => field === 'mtime' && Number(right) > Date.now() * 1e6 - 600e9,
  },
  {
    reason: 'hardlinks of symbolic links and of named pipes are split by that copying',
    matches: ({ path, field }) => (field === 'nlink' || field === 'group') && SPLIT.includes(path),
  },
  {
    reason: 'a folder without an entry below a setgid folder: the kernel gives it the group of the folder above',
    matches: ({ path, field }) => field === 'owner' && path === 'odd/v/implied/deeper',
  },
  {
    reason: "a named pipe's mode is cut by the umask",
    matches: ({ path, field }) => field === 'mode' && path.startsWith('odd/dev/fifo'),
  },
  {
    reason: 'times before 1970 become 1970',
    matches: ({ path, field, right }) => field === 'mtime' && path.startsWith('odd/times/before') && right === '0',
  },
  {
    reason: 'a folder that is given again keeps xattrs that the new entry lacks',
    matches: ({ path, field }) => field === 'xattrs' && path === 'odd/v/attributes',
  },
  {
    reason: 'an opaque marker at the end also deletes what its own layer put into implied folders',
    matches: ({ path, field }) => field === 'exists' && path.startsWith('odd/v/opaque-last/hidden-folder'),
  },
];

function withoutTrusted(xattrs: string | undefined): string {
  return (xattrs ?? '')
    .split('\n')
    .filter((line) => !line.startsWith('trusted.'))
    .join('\n');
}
