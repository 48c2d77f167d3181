import { readFileSync } from 'node:fs';
import { MADV, madvise } from './memory.js';

/**
 * Gives back pages of files that this process has mapped and touched. They are clean and stay in the page cache; what is needed again comes
 * back without a read, unless memory was short meanwhile. Mappings with any page of our own in them (written to, so not in the file) are
 * left alone. Takes some milliseconds. Throws ErrnoError, as for memory that is locked.
 * @param which `all`: node itself and its libraries, too, much of which only starting up needs. `shared`: only what is mapped to be shared,
 *   which is data: a program without its pages waits a tenth of a second when the disk has to read them again.
 */
export function trimMappedPages(which: 'all' | 'shared'): void {
  for (const block of readFileSync('/proc/self/smaps', 'latin1').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) (r-xp|r--p|r--s) \S+ \S+ [1-9]\d* /.exec(block);
    if (match === null || (which === 'shared' && match[3] !== 'r--s')) continue;
    if (!/^Anonymous: +0 kB$/m.test(block) || !/^Private_Dirty: +0 kB$/m.test(block)) continue;
    const start = BigInt(`0x${match[1]}`);
    const end = BigInt(`0x${match[2]}`);
    madvise(start, Number(end - start), MADV.DONTNEED);
  }
}
