import { basename, dirname, join } from 'node:path';
import type { Tags } from '../data/tags.js';
import { NoUpgrades } from '../data/upgrades.js';
import type { Area } from '../harness/area.js';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { LAYERFS, run } from '../harness/programs.js';
import { startContainerd } from '../peers/containerd.js';
import { openStorage } from '../peers/podman.js';

const MB = 1e6;

interface Use {
  readonly name: string;
  /** Bytes, of what containers stand on. */
  readonly unpacked: number;
  /** Bytes, together with the compressed layers; undefined where those are not kept. */
  readonly all?: number;
}

/** The disk that many versions of one image take, in our store and in those of the peers. */
export const disk: Benchmark = {
  name: 'disk',
  about: 'the disk that ten tags of one image take, whose root differs by a few upgraded packages each',
  needsRoot: true,
  run: (bench) =>
    inArea(bench, bench.quick ? 4 : 16, async (area) => {
      try {
        await measure(bench, area, await bench.data.tags(bench.quick));
      } catch (error) {
        if (!(error instanceof NoUpgrades)) throw error;
        bench.say(`left out: ${error.message}`);
      }
    }),
};

async function measure(bench: Bench, area: Area, tags: Tags): Promise<void> {
  const [without, together] = ['without', 'with'].map(
    (how) => `disk use of ${tags.tags.length} tags, ${how} compressed layers`,
  );
  const keep = (title: string, subject: string, kind: 'ours' | 'peer' | 'limit', size: number): void =>
    bench.once(title, subject, kind, 'MB', size / MB);
  const { name, unpacked, all } = inLayerfs(area, tags);
  keep(without, name, 'ours', unpacked);
  keep(together, name, 'ours', all ?? Number.NaN);
  for (const use of [await inContainerd(bench, area, tags), inPodman(bench, area, tags)]) {
    if (use === undefined) continue;
    keep(without, use.name, 'peer', use.unpacked);
    if (use.all !== undefined) keep(together, use.name, 'peer', use.all);
  }
  keep(without, 'each distinct content once, in whole blocks', 'limit', tags.unique.blocks);
  keep(without, 'each distinct content once, bytes', 'limit', tags.unique.bytes);
}

/** Bytes of the blocks that a folder takes. */
export function usage(folder: string): number {
  run('sync', '-f', folder);
  // What is mounted in it takes no room there.
  return Number(run('du', '-s', '--one-file-system', '--block-size=1', folder).split('\t')[0]);
}

function inLayerfs(area: Area, { layout, tags }: Tags): Use {
  const root = area.make('store');
  for (const tag of tags) run(LAYERFS, '--root', root, 'import', `${layout}:${tag}`, '--name', `bench:${tag}`, '-q');
  const all = usage(root);
  run(LAYERFS, '--root', root, 'prune', '--blobs');
  return { name: 'layerfs', unpacked: usage(root), all };
}

async function inContainerd(bench: Bench, area: Area, { layout }: Tags): Promise<Use | undefined> {
  if (!bench.has('containerd') || !bench.has('ctr')) return undefined;
  const archive = join(area.folder, 'tags.tar');
  run('tar', '-C', layout, '-cf', archive, '.');
  const containerd = await startContainerd(area.make('containerd'));
  try {
    run('ctr', '-a', containerd.socket, 'image', 'import', '--base-name', 'bench', archive);
  } finally {
    await containerd.stop();
  }
  const content = usage(join(containerd.root, 'io.containerd.content.v1.content'));
  const all = usage(containerd.root);
  return { name: 'containerd, overlayfs snapshotter', unpacked: all - content, all };
}

/** It keeps no compressed layers. */
function inPodman(bench: Bench, area: Area, { layout, tags }: Tags): Use | undefined {
  if (!bench.has('podman')) return undefined;
  const storage = openStorage(area.make('podman'));
  try {
    // It makes a name of the path, in which it takes no capitals.
    const pull = `cd "$1" && ${storage.environment} podman pull -q "oci:$2:$3"`;
    for (const tag of tags) run('sh', '-c', pull, 'sh', dirname(layout), basename(layout), tag);
    return { name: 'podman, overlay storage', unpacked: usage(storage.graph) };
  } finally {
    storage.close();
  }
}
