/** The disk that many versions of one image take, in our store and in those of the peers. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { openArea, type Area } from '../area.js';
import { startContainerd } from '../containerd.js';
import { oneFigure, type Figure } from '../harness.js';
import { LAYERFS, has, missing, run } from '../programs.js';
import { onRelease } from '../release.js';
import { makeTags, type Tags } from './tags.js';
import { NoUpgrades } from './upgrades.js';

const MB = 1e6;

interface Use {
  readonly name: string;
  /** Bytes, of what containers stand on. */
  readonly unpacked: number;
  /** Bytes, together with the compressed layers; undefined where those are not kept. */
  readonly all?: number;
}

/** Figures of ten tags whose root differs by a few upgraded packages each. */
export async function benchDiskUse(quick: boolean): Promise<Figure[]> {
  if (process.geteuid?.() !== 0) {
    console.log('disk use of tags needs root: makes roots of other users, and runs peers');
    return [];
  }
  const area = openArea(quick ? 4 : 16);
  try {
    const tags = await makeTags(area, quick ? 3 : 10, quick);
    const uses = [inLayerfs(area, tags), await inContainerd(area, tags), inPodman(area, tags)];
    const found = uses.filter((use) => use !== undefined);
    const { bytes, blocks } = tags.unique;
    const what = `disk use of ${tags.tags.length} tags`;
    const figure = (benchmark: string, subject: string, size: number): Figure =>
      oneFigure(benchmark, subject, 'MB', size / MB);
    return [
      ...found.map(({ name, unpacked }) => figure(`${what}, without compressed layers`, name, unpacked)),
      figure(`${what}, without compressed layers`, 'each distinct content once, in whole blocks', blocks),
      figure(`${what}, without compressed layers`, 'each distinct content once, bytes', bytes),
      ...found.flatMap(({ name, all }) =>
        all === undefined ? [] : [figure(`${what}, with compressed layers`, name, all)],
      ),
    ];
  } catch (error) {
    if (!(error instanceof NoUpgrades)) throw error;
    console.log(`disk use of tags is left out: ${error.message}`);
    return [];
  } finally {
    area.release();
  }
}

/** Bytes of the blocks that a folder takes. */
function usage(folder: string): number {
  run('sync', '-f', folder);
  return Number(run('du', '-s', '--block-size=1', folder).split('\t')[0]);
}

function inLayerfs(area: Area, { layout, tags }: Tags): Use {
  const root = area.make('store');
  for (const tag of tags) run(LAYERFS, '--root', root, 'import', `${layout}:${tag}`, '--name', `bench:${tag}`, '-q');
  const all = usage(root);
  run(LAYERFS, '--root', root, 'prune', '--blobs');
  return { name: 'layerfs', unpacked: usage(root), all };
}

async function inContainerd(area: Area, { layout }: Tags): Promise<Use | undefined> {
  const absent = ['ctr', 'containerd'].find((program) => !has(program));
  if (absent !== undefined) {
    console.log(missing(absent));
    return undefined;
  }
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
function inPodman(area: Area, { layout, tags }: Tags): Use | undefined {
  if (!has('podman')) {
    console.log(missing('podman'));
    return undefined;
  }
  const folder = area.make('podman');
  const [graph, config] = [join(folder, 'graph'), join(folder, 'storage.conf')];
  mkdirSync(graph);
  const lines = ['[storage]', 'driver = "overlay"', `graphroot = "${graph}"`, `runroot = "${join(folder, 'run')}"`];
  writeFileSync(config, lines.join('\n'));
  // podman binds the root of its layers onto itself, and leaves that.
  const release = onRelease(
    () => void run('sh', '-c', 'umount "$1" 2> /dev/null || true', 'sh', join(graph, 'overlay')),
  );
  try {
    // It makes a name of the path, in which it takes no capitals.
    const pull = 'cd "$1" && CONTAINERS_STORAGE_CONF="$2" podman pull -q "oci:$3:$4"';
    for (const tag of tags) run('sh', '-c', pull, 'sh', dirname(layout), config, basename(layout), tag);
    return { name: 'podman, overlay storage', unpacked: usage(graph) };
  } finally {
    release();
  }
}
