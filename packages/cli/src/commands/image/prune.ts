import type { PruneResult } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatAge, formatBytes, plural, shortDigest } from '../../format.js';
import { gcProgress } from '../../gc-progress.js';
import { note, print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly unusedFor?: number;
  readonly keepUnder?: number;
  readonly blobs?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `layerfs prune` */
export async function run(options: Options): Promise<void> {
  const { unusedFor, keepUnder, blobs = false, dryRun = false } = options;
  const signal = interruption();
  const progress = gcProgress(options);
  await withStore(options, async (store) => {
    const result = await store
      .prune({
        ...(unusedFor === undefined ? {} : { unusedFor }),
        ...(keepUnder === undefined ? {} : { keepUnder }),
        blobs,
        dryRun,
        onProgress: progress.event,
        signal,
      })
      .finally(() => progress.clear());
    if (options.json === true) return printJson(result);
    if (options.quiet === true) {
      for (const { names, digest } of result.images) print(names[0] ?? digest);
      return;
    }
    report(result, blobs);
    if (keepUnder !== undefined && (result.size ?? 0) > keepUnder) {
      note(`layerfs: the store still takes ${formatBytes(result.size ?? 0)}: what is left is in use`);
    }
  });
}

function report({ dryRun, images, blobs, blobBytes, bytes, inUse }: PruneResult, withBlobs: boolean): void {
  const would = dryRun ? 'would ' : '';
  if (withBlobs)
    print(`${would}${dryRun ? 'drop' : 'dropped'} ${plural(blobs, 'layer blob')}, ${formatBytes(blobBytes)}`);
  for (const { names, digest, lastUsed, bytes: own } of images) {
    const name = names.length === 0 ? shortDigest(digest) : names.join(', ');
    print(`${would}${dryRun ? 'remove' : 'removed'} ${name}, last used ${formatAge(lastUsed)}, ${formatBytes(own)}`);
  }
  if (inUse.length > 0)
    print(`${plural(inUse.length, 'image')} that would go, but ${inUse.length === 1 ? 'is' : 'are'} in use`);
  if (images.length > 0 || !withBlobs) print(`${would}${dryRun ? 'free' : 'freed'} ${formatBytes(bytes)}`);
}
