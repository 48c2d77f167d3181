import { readFileSync } from 'node:fs';
import { MADV, madvise } from '@layerfs/linux';

/**
 * Gives back pages of files that this process has mapped and touched: they are clean and stay in the page cache, and what is needed
 * again comes back without a read. Mappings with any page of our own in them (written to, so not in the file) are left alone.
 * @param what `all`: node itself and its libraries, too, much of which only starting up needs. `trees`: what serving needs of the program
 *   stays, or the first request after memory was short would wait a tenth of a second for the disk.
 */
export function trimMappedPages(what: 'all' | 'trees'): void {
  for (const block of readFileSync('/proc/self/smaps', 'latin1').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) (r-xp|r--p|r--s) \S+ \S+ [1-9]\d* /.exec(block);
    if (match === null || (what === 'trees' && match[3] !== 'r--s')) continue;
    if (!/^Anonymous: +0 kB$/m.test(block) || !/^Private_Dirty: +0 kB$/m.test(block)) continue;
    const start = BigInt(`0x${match[1]}`);
    const end = BigInt(`0x${match[2]}`);
    madvise(start, Number(end - start), MADV.DONTNEED);
  }
}
