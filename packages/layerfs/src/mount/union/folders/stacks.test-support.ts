/** Stacks of small folders for tests of {@link FoldersLower}. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'vitest';
import { Attr } from '@layerfs/fuse';
import { setXattr } from '@layerfs/linux';
import { FoldersLower, type FoldersLowerOptions } from './lower.js';

/** Layers in a temporary folder, and the stacks that were opened of them. */
export class Stacks {
  readonly root = mkdtempSync(join(tmpdir(), 'layerfs-folders-'));
  readonly #opened: FoldersLower[] = [];
  #count = 0;

  /** A layer: paths that end in a slash are folders, `-> ` is a link, all else content. */
  layer(files: Record<string, string>): string {
    const folder = join(this.root, `layer${String(this.#count++)}`);
    mkdirSync(folder);
    for (const [path, content] of Object.entries(files)) {
      const full = join(folder, path);
      mkdirSync(path.endsWith('/') ? full : dirname(full), { recursive: true });
      if (path.endsWith('/')) continue;
      if (content.startsWith('-> ')) symlinkSync(content.slice(3), full);
      else writeFileSync(full, content);
    }
    return folder;
  }

  /** The stack, topmost first. */
  open(folders: string[], options: Partial<FoldersLowerOptions> = {}): FoldersLower {
    const lower = new FoldersLower({ folders, ...options });
    this.#opened.push(lower);
    return lower;
  }

  remove(): void {
    for (const lower of this.#opened) lower.close();
    // Node's rm goes by paths, which some of these are too deep for.
    execFileSync('rm', ['-rf', this.root]);
  }
}

/** What stat shows of a node. */
export function attr(lower: FoldersLower, node: number): Attr {
  const filled = new Attr();
  lower.fill(node, filled);
  return filled;
}

/** The node at a path, 0 when there is none. */
export function find(lower: FoldersLower, path: string): number {
  let node = 1;
  for (const name of path.split('/')) if (node !== 0) node = lower.lookup(node, name);
  return node;
}

/** Sets an attribute. */
export function mark(path: string, name: string, value = ''): void {
  setXattr(path, name, Buffer.from(value));
}

/** Skips the running test for others than root. */
export function needRoot(context: TestContext): void {
  if (process.geteuid?.() === 0) return;
  console.warn(`skipped: ${context.task.name}: needs root`);
  context.skip('needs root');
}
