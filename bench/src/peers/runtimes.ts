/** containerds, each with one of the snapshotters that are compared. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Area } from '../harness/area.js';
import type { Kind } from '../harness/figure.js';
import { LAYERFS, run } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';
import { startContainerd, type Containerd } from './containerd.js';

/** A containerd, and the snapshotter that it is used with. */
export interface Runtime {
  readonly name: string;
  readonly kind: Kind;
  readonly snapshotter: string;
  readonly containerd: Containerd;
  /** What the snapshotter keeps on the disk. */
  readonly folder: string;
  /** Runs ctr against it. */
  readonly ctr: (...args: readonly string[]) => string;
  /** Waits until it has done what it does behind. */
  settled(): Promise<void>;
  /** IDs of its processes: containerd's, and of the snapshotter if it has one of its own. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

/**
 * Starts one for each snapshotter.
 * @param native also with the one that copies all files for each snapshot
 */
export async function startRuntimes(area: Area, native = false): Promise<Runtime[]> {
  const found: Runtime[] = [await startOurs(area)];
  for (const snapshotter of ['overlayfs', ...(native ? ['native'] : [])]) {
    const containerd = await startContainerd(area.make(snapshotter));
    found.push({
      name: `containerd, ${snapshotter}`,
      kind: 'peer',
      snapshotter,
      containerd,
      folder: join(containerd.root, `io.containerd.snapshotter.v1.${snapshotter}`),
      ctr: (...args) => run('ctr', '-a', containerd.socket, ...args),
      settled: () => Promise.resolve(),
      pids: [containerd.pid],
      stop: () => containerd.stop(),
    });
  }
  return found;
}

async function startOurs(area: Area): Promise<Runtime> {
  const store = area.make('layerfs');
  const base = mkdtempSync(join(tmpdir(), 'layerfs-s-'));
  const socket = join(base, 's');
  const words = ['--root', store, 'snapshotter', 'serve', '--socket', socket, '--quiet'];
  const child = spawn(process.execPath, [join(LAYERFS, '../../@layerfs/cli/bin/layerfs.js'), ...words], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const release = onRelease(() => {
    child.kill('SIGKILL');
    rmSync(base, { recursive: true, force: true });
  });
  for (let i = 0; !existsSync(socket); i++) {
    if (i === 200 || child.exitCode !== null) throw new Error('layerfs snapshotter serve does not answer');
    await sleep(50);
  }
  const containerd = await startContainerd(area.make('containerd'), socket);
  return {
    name: 'containerd, layerfs',
    kind: 'ours',
    snapshotter: 'layerfs',
    containerd,
    folder: store,
    ctr: (...args) => run('ctr', '-a', containerd.socket, ...args),
    async settled() {
      // What is committed becomes layers some seconds later.
      for (let i = 0; i < 1200 && readdirSync(join(store, 'snapshotter/snapshots')).length > 0; i++) await sleep(250);
    },
    pids: [containerd.pid, child.pid ?? 0],
    async stop() {
      await containerd.stop();
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGTERM');
      await ended;
      release();
    },
  };
}
