import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';

/** A containerd of our own. */
export interface Containerd {
  readonly socket: string;
  /** Where it keeps everything. */
  readonly root: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/**
 * Starts one: its files in `folder`, its socket where the path is short enough. Root only.
 * @param proxy socket of a snapshotter, which it knows as `layerfs`
 */
export async function startContainerd(folder: string, proxy?: string): Promise<Containerd> {
  const base = mkdtempSync(join(tmpdir(), 'layerfs-ctr-'));
  const socket = join(base, 'c.sock');
  const root = join(folder, 'root');
  const config = join(base, 'config.toml');
  writeFileSync(
    config,
    [
      'version = 2',
      `root = "${root}"`,
      `state = "${base}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      '[grpc]',
      `address = "${socket}"`,
      '[ttrpc]',
      `address = "${base}/t.sock"`,
      ...(proxy === undefined ? [] : ['[proxy_plugins.layerfs]', 'type = "snapshot"', `address = "${proxy}"`]),
    ].join('\n'),
  );
  const child = spawn('containerd', ['-c', config], { stdio: 'ignore' });
  const release = onRelease(() => {
    child.kill('SIGKILL');
    rmSync(base, { recursive: true, force: true });
  });
  for (let i = 0; i < 200; i++) {
    await sleep(50);
    try {
      run('ctr', '-a', socket, 'version');
      break;
    } catch (error) {
      if (i === 199 || child.exitCode !== null) throw error;
    }
  }
  return {
    socket,
    root,
    pid: child.pid ?? 0,
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      release();
    },
  };
}
