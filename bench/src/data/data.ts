/** Data that several benchmarks use, made once for a run. What takes minutes to build is kept between runs, as the test images are. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openArea, type Area } from '../harness/area.js';
import { LAYERFS, run } from '../harness/programs.js';
import type { Stack } from '../peers/peer.js';
import { testImage, unpackLowers } from './images.js';
import { makeTags, type Tags } from './tags.js';

/** Test images of which not every entry can be unpacked by tar. */
const ODD: ReadonlySet<string> = new Set(['mini', 'debian']);

/** Made on first use; {@link release} removes all of it. */
export class Data {
  readonly #stacks = new Map<string, Stack>();
  readonly #gigabytes: number;
  #area: Area | undefined;
  #tags: Tags | undefined;

  /** @param gigabytes room for all of it */
  constructor(gigabytes: number) {
    this.#gigabytes = gigabytes;
  }

  /** A test image in all forms, to be mounted read-only. Root only. */
  stack(image: string): Stack {
    const known = this.#stacks.get(image);
    if (known !== undefined) return known;
    const made = makeStack(testImage(image), this.folder(image), ODD.has(image));
    this.#stacks.set(image, made);
    return made;
  }

  /** Many versions of one image. Root only. @throws NoUpgrades */
  async tags(quick: boolean): Promise<Tags> {
    this.#tags ??= await makeTags({ make: (name) => this.folder(name) }, quick ? 3 : 10, quick);
    return this.#tags;
  }

  /** A new empty folder that stays for the whole run. */
  folder(name: string): string {
    this.#area ??= openArea(this.#gigabytes);
    return this.#area.make(name);
  }

  release(): void {
    this.#area?.release();
    this.#area = undefined;
    this.#stacks.clear();
    this.#tags = undefined;
  }
}

/**
 * Brings an OCI layout with one image into each form that peers mount. Root only.
 * @param folder an empty one
 * @param odd whether it has entries that tar refuses
 */
export function makeStack(layout: string, folder: string, odd: boolean): Stack {
  const [store, lowers, plain] = ['store', 'lowers', 'plain'].map((name) => join(folder, name));
  mkdirSync(lowers);
  run(LAYERFS, '--root', store, 'import', layout, '--name', 'bench', '-q');
  run(LAYERFS, '--root', store, 'checkout', 'bench', plain, '-q');
  return { store, image: 'bench', lowers: unpackLowers(layout, lowers, odd), plain };
}
