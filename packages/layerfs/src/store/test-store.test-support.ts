/** A store of its own for each test of a file. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { openStore, type Store } from './store.js';

/** The store of the test that runs, and a place beside it. */
export interface Here {
  work: string;
  root: string;
  store: Store;
  /** A path that does not exist. */
  fresh(): string;
  /** Writes a file in a folder of its own. */
  file(bytes: Uint8Array, name?: string): string;
  contentOf(ref: string, path: string): Promise<string>;
}

/** Makes a store before each test of the calling file and removes it afterwards. */
export function storeForEachTest(): Here {
  let names = 0;
  const here = {
    fresh: () => join(here.work, `${names++}`),
    file(bytes: Uint8Array, name = 'image.tar') {
      const folder = here.fresh();
      mkdirSync(folder);
      writeFileSync(join(folder, name), bytes);
      return join(folder, name);
    },
    async contentOf(ref: string, path: string) {
      const { content } = await here.store.readFile(ref, path);
      const parts: Uint8Array[] = [];
      for await (const part of content) parts.push(part);
      return Buffer.concat(parts).toString();
    },
  } as Here;
  beforeEach(async () => {
    here.work = mkdtempSync(join(tmpdir(), 'layerfs-store-'));
    here.root = join(here.work, 'store');
    here.store = await openStore({ root: here.root });
  });
  afterEach(async () => {
    await here.store.close();
    rmSync(here.work, { recursive: true, force: true });
  });
  return here;
}
