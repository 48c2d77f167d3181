import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { openArea } from './area.js';
import { compare, type Figure, type Subject } from './harness.js';
import { layerBlobs, testImage } from './image.js';
import { LAYERFS, has, missing, peakMemory, run, time } from './programs.js';

/** Import of a Debian image into a new store, against unpacking it with the peers; then the memory it takes. */
export async function benchImport(quick: boolean): Promise<Figure[]> {
  const image = quick ? 'mini' : 'debian';
  const layout = testImage(image);
  const blobs = layerBlobs(layout);
  const area = openArea(quick ? 4 : 30);
  const containerd =
    has('ctr') && process.geteuid?.() === 0 ? await startContainerd(area.make('containerd')) : undefined;
  try {
    const subjects: Subject[] = [
      {
        name: 'layerfs import',
        run: () => time(`${LAYERFS} --root ${area.make('store')} import ${layout} --name bench -q`),
      },
      {
        name: 'gzip -dc | tar x',
        run: () => {
          const target = area.make('tar');
          return time(blobs.map((blob) => `gzip -dc ${blob} | tar x -C ${target}`).join(' && '));
        },
      },
    ];
    if (has('umoci')) {
      const rootless = process.geteuid?.() === 0 ? '' : '--rootless ';
      subjects.push({
        name: 'umoci unpack',
        run: () => time(`umoci unpack ${rootless}--image ${layout}:latest ${area.make('umoci')}/bundle`),
      });
    } else console.log(missing('umoci'));
    if (containerd !== undefined) {
      const archive = testImage(image, 'oci-archive');
      let round = 0;
      subjects.push({
        name: 'ctr image import',
        // A namespace of its own has no content and no snapshots yet.
        run: () => time(`ctr -a ${containerd.socket} -n round${round++} image import --base-name bench ${archive}`),
      });
    } else console.log(missing('ctr'));
    const figures = await compare(`import ${image}`, subjects, quick ? 2 : 5);
    const largest = quick ? image : 'bigfile';
    const peak = await peakMemory(
      process.execPath,
      join(LAYERFS, '../../@layerfs/cli/bin/layerfs.js'),
      '--root',
      area.make('big'),
      'import',
      testImage(largest),
      '--name',
      'big',
      '-q',
    );
    figures.push({
      benchmark: `memory of import ${largest}`,
      subject: 'layerfs import',
      unit: 'MB',
      median: peak,
      minimum: peak,
      maximum: peak,
      rounds: 1,
    });
    return figures;
  } finally {
    await containerd?.stop();
    area.release();
  }
}

/** A containerd of our own: its files in `folder`, its socket where the path is short enough. */
async function startContainerd(folder: string): Promise<{ socket: string; stop(): Promise<void> }> {
  const base = mkdtempSync(join(tmpdir(), 'layerfs-ctr-'));
  const socket = join(base, 'c.sock');
  const config = join(base, 'config.toml');
  writeFileSync(
    config,
    [
      'version = 2',
      `root = "${folder}/root"`,
      `state = "${base}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      '[grpc]',
      `address = "${socket}"`,
      '[ttrpc]',
      `address = "${base}/t.sock"`,
    ].join('\n'),
  );
  const child = spawn('containerd', ['-c', config], { stdio: 'ignore' });
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
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      rmSync(base, { recursive: true, force: true });
    },
  };
}
