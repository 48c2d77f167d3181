/** Many versions of one image: each has its root rebuilt as one layer, and an application above that stays the same. */
import { createHash, randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Area } from '../harness/area.js';
import { layerBlobs, testImage } from './images.js';
import { run } from '../harness/programs.js';
import { turn } from '../harness/release.js';
import { LayoutWriter, type Layer } from './layout.js';
import { applyUpgrade, downloadUpgrades, upgradesOf } from './upgrades.js';

const BLOCK = 4096;

/** Images under tags `v0`, `v1` and so on in one OCI layout. */
export interface Tags {
  readonly layout: string;
  readonly tags: readonly string[];
  /** Bytes of all distinct contents of files, and of the blocks that they fill. */
  readonly unique: { readonly bytes: number; readonly blocks: number };
}

/** A step from one tag to the next. */
interface Step {
  readonly what: string;
  apply(root: string): void;
}

/** Makes `count` tags in new folders, or fewer where there are not as many steps. @throws NoUpgrades */
export async function makeTags(area: Pick<Area, 'make'>, count: number, quick: boolean): Promise<Tags> {
  const [base] = layerBlobs(testImage(quick ? 'mini' : 'debian', 'oci-plain'));
  const root = area.make('root');
  run('tar', '-x', '-p', '--numeric-owner', '--xattrs', '-C', root, '-f', base);
  const steps = quick ? editsOf(count - 1) : packageSteps(root, count - 1);
  const layout = new LayoutWriter(join(area.make('tags'), 'layout'));
  const contents = new Contents();
  const app = area.make('app');
  makeApplication(app);
  contents.add(app);
  const tars = area.make('tars');
  const pack = (folder: string, name: string): string => {
    const tar = join(tars, `${name}.tar`);
    run('tar', '-c', '--numeric-owner', '--xattrs', '--sort=name', '-C', folder, '-f', tar, '.');
    return tar;
  };
  const appLayer = await layout.gzipLayer(pack(app, 'app'));
  const tags: string[] = [];
  const add = async (compressing: Promise<Layer>, tar: string, tag: string): Promise<void> => {
    layout.image([await compressing, appLayer], tag);
    rmSync(tar);
  };
  // One is compressed while the next is made.
  let compressed: Promise<void> | undefined;
  for (const step of [undefined, ...steps]) {
    await turn();
    step?.apply(root);
    const tag = `v${tags.length}`;
    const tar = pack(root, tag);
    const compressing = layout.gzipLayer(tar);
    contents.add(root);
    await compressed;
    compressed = add(compressing, tar, tag);
    // Looked at when the next is ready.
    compressed.catch(() => undefined);
    tags.push(tag);
    console.log(step === undefined ? `tag ${tag}: the image` : `tag ${tag}: ${step.what}`);
  }
  await compressed;
  layout.finish();
  return { layout: layout.folder, tags, unique: contents.total };
}

/** Upgrades of packages, spread evenly over the tags. */
function packageSteps(root: string, most: number): Step[] {
  const upgrades = upgradesOf(root);
  downloadUpgrades(upgrades);
  const count = Math.min(most, upgrades.length);
  return Array.from({ length: count }, (_, i) => {
    const own = upgrades.filter((_, at) => Math.floor((at * count) / upgrades.length) === i);
    const names = own.flatMap(({ packages }) => packages.map(({ name, version }) => `${name} ${version}`));
    return { what: names.join(', '), apply: (folder) => own.forEach((upgrade) => applyUpgrade(folder, upgrade)) };
  });
}

/** For a root without packages. */
function editsOf(count: number): Step[] {
  return Array.from({ length: count }, (_, i) => ({
    what: 'one file more, one changed',
    apply(root) {
      writeFileSync(join(root, `usr/bin/tool-${i}`), randomBytes(100_000));
      writeFileSync(join(root, 'etc/hostname'), `v${i}\n`);
    },
  }));
}

function makeApplication(folder: string): void {
  mkdirSync(join(folder, 'srv/app'), { recursive: true });
  for (let i = 0; i < 50; i++) writeFileSync(join(folder, `srv/app/part-${i}`), randomBytes(20_000));
}

/** Each distinct content of a file once. */
class Contents {
  readonly #sizes = new Map<string, number>();
  /** Files that were read before and have not changed. */
  readonly #seen = new Set<string>();

  add(folder: string): void {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) this.add(path);
      else if (entry.isFile()) this.#file(path);
    }
  }

  get total(): Tags['unique'] {
    let [bytes, blocks] = [0, 0];
    for (const size of this.#sizes.values()) {
      bytes += size;
      blocks += Math.ceil(size / BLOCK) * BLOCK;
    }
    return { bytes, blocks };
  }

  #file(path: string): void {
    const { ino, ctimeMs, size } = lstatSync(path);
    const key = `${ino} ${ctimeMs}`;
    if (size === 0 || this.#seen.has(key)) return;
    this.#seen.add(key);
    this.#sizes.set(createHash('sha256').update(readFileSync(path)).digest('hex'), size);
  }
}
