/** One line of `layerfs doctor`. */
export interface Check {
  /** What was looked at, a few words. */
  readonly name: string;
  /** true: fine; 'warn': works, but slower or with less; false: does not work. */
  readonly ok: boolean | 'warn';
  /** What was found, one sentence. */
  readonly detail: string;
  /** What layerfs does because of it, one sentence. */
  readonly use?: string;
  /** What to do to get more. */
  readonly hint?: string;
}

/** What layerfs does where the kernel mounts nothing from the store. @param fuse whether FUSE can be mounted */
export function withoutKernelMounts(fuse: boolean): string {
  const mounts = fuse ? 'Mounts go through FUSE' : 'Nothing can be mounted: `layerfs checkout` writes plain files';
  return `${mounts}; the snapshotter gives containers plain folders.`;
}

/** Compares dotted versions by number: negative when a < b. Anything after digits and dots is ignored. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [numbersOf(a), numbersOf(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function numbersOf(version: string): number[] {
  return (/^[\d.]*/.exec(version)?.[0] ?? '').split('.').map(Number);
}
