import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as sys from '../../harness/calls.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { Random, SEEDS } from '../../harness/random.js';
import { describeTree, randomOperation, resultOf } from '../../harness/tree-ops.js';
import * as xattrs from '../../harness/xattrs.js';

/** Random calls, each made here and in a plain folder: both must answer the same, and in the end hold the same. */
export const randomTrees = new Family('random calls');
const { add } = randomTrees;
const STEPS = 300;

/** In a folder of its own, as links with .. lead out of the tree: what they make must not meet other runs. */
function prepare(): void {
  folder('tree');
  for (const name of ['tree/a', 'tree/b']) {
    folder(name);
    for (const inner of ['a', 'b']) {
      folder(`${name}/${inner}`);
      file(`${name}/${inner}/c`, { content: `content of ${name}/${inner}/c` });
      sys.symlink('c', `${name}/${inner}/d`);
    }
    file(`${name}/c`, { content: name.repeat(10), mode: 0o4755 });
    xattrs.setxattr(`${name}/c`, 'user.a', 'value');
    sys.link(`${name}/c`, `${name}/d`);
  }
  sys.link('tree/a/c', 'tree/c');
  sys.symlink('a/b', 'tree/d');
}

/** Two folders that are led through the same calls. */
class Twins {
  readonly #folders: readonly number[];
  readonly #slots: (number | undefined)[][] = [[], []];
  readonly #history: string[] = [];

  constructor(...folders: string[]) {
    this.#folders = folders.map((path) => sys.open(path, sys.O.RDONLY | sys.O.DIRECTORY));
  }

  #both<T>(run: (index: number) => T): T[] {
    return this.#folders.map((fd, index) => {
      sys.fchdir(fd);
      return run(index);
    });
  }

  step(random: Random, descriptors: boolean): void {
    const operation = randomOperation(random, descriptors);
    const [here, there] = this.#both((index) => resultOf(operation, this.#slots[index]));
    this.#history.push(`${operation.what} -> ${there}`);
    assert.equal(here, there, `${operation.what}: got ${here}, not ${there}, after\n${this.#recent()}`);
  }

  compareTrees(): void {
    const [here, there] = this.#both(() => describeTree('..'));
    assert.deepEqual(here, there);
  }

  #recent(): string {
    return this.#history.slice(-12).join('\n');
  }

  close(): void {
    for (const fd of this.#slots.flat()) if (fd !== undefined) sys.close(fd);
    for (const fd of this.#folders) sys.close(fd);
  }
}

function runSeed(twins: Twins, seed: number, descriptors: boolean): void {
  const random = new Random(seed);
  try {
    for (let step = 1; step <= STEPS; step++) {
      twins.step(random, descriptors);
      if (step % 50 === 0) twins.compareTrees();
    }
  } finally {
    twins.close();
  }
}

for (const descriptors of [false, true]) {
  for (const seed of SEEDS) {
    const what = `${descriptors ? 'with open descriptors, ' : ''}seed ${String(seed)}`;
    add(what, { root: true, prepare }, () => {
      const reference = mkdtempSync(join(tmpdir(), 'layerfs-posix-reference-'));
      const here = sys.open('.', sys.O.RDONLY);
      try {
        sys.chdir(reference);
        prepare();
        sys.fchdir(here);
        runSeed(new Twins('tree', `${reference}/tree`), seed, descriptors);
      } finally {
        sys.fchdir(here);
        sys.close(here);
        rmSync(reference, { recursive: true });
      }
    });
  }
}
