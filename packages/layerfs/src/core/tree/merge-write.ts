/** The second pass of a merge: writes the file that the first one has planned. */
import { TreeFile } from './file.js';
import {
  DIGEST_SIZE,
  DIRENT,
  DIRENT_WORDS,
  INODE,
  INODE_WORDS,
  NONE,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  direntType,
} from './format.js';
import type { Xxh64 } from './hash.js';
import { BytePool } from './pool.js';
import type { Stack } from './stack.js';

/** Which inode of which tree has which number in the result, and the result's names. */
export interface Plan {
  readonly inodes: number;
  /** Number of dirents. */
  readonly count: number;
  /** Number in the result -> stack-wide number of the inode whose attributes it takes. */
  readonly sourceOf: Uint32Array;
  /** Number in the result -> first dirent, also for files, so that the next one's is where a folder ends. */
  readonly firstOf: Uint32Array;
  /** The dirents, complete but for their types. */
  readonly dirents: Uint32Array;
}

export function writeMerged(stack: Stack, plan: Plan, hash: Xxh64): Uint8Array {
  const objects = new BytePool(8);
  const objectNumbers = numberObjects(stack, plan, objects);
  const { totals, sources } = stack;
  const file = new TreeFile({
    inodes: plan.inodes,
    dirents: plan.count,
    names: totals.names,
    xattrs: totals.xattrs,
    objects: objects.count,
    layers: totals.layers,
    links: 0,
  });
  for (const source of sources) {
    file.names.set(source.names, source.nameBase);
    file.xattrs.set(source.tree.sections.xattrs, source.xattrBase);
    file.layers.set(source.tree.sections.layers, source.layerBase * DIGEST_SIZE);
  }
  file.objects.set(objects.bytes.subarray(0, objects.count * DIGEST_SIZE));
  file.dirents.set(plan.dirents.subarray(0, plan.count * DIRENT_WORDS));
  writeInodes(stack, plan, file.inodes, objectNumbers);
  linkInodes(plan, file);
  return file.seal(hash);
}

/** Stack-wide object index -> index in the result; objects are numbered in the order of first use. */
function numberObjects(stack: Stack, plan: Plan, objects: BytePool): Uint32Array {
  const numbers = new Uint32Array(stack.totals.objects).fill(NONE);
  for (let ino = 1; ino <= plan.inodes; ino++) {
    const source = stack.sources[stack.indexOf(plan.sourceOf[ino])];
    const at = (plan.sourceOf[ino] - source.inodeBase) * INODE_WORDS;
    const ref = source.inodes[at + INODE.ref];
    if ((source.inodes[at + INODE.mode] & S_IFMT) !== S_IFREG || ref === NONE) continue;
    const index = source.objectBase + ref;
    if (numbers[index] === NONE) {
      numbers[index] = objects.intern(source.tree.sections.objects, DIGEST_SIZE, ref * DIGEST_SIZE);
    }
  }
  return numbers;
}

function writeInodes(stack: Stack, plan: Plan, out: Uint32Array, objectNumbers: Uint32Array): void {
  for (let ino = 1; ino <= plan.inodes; ino++) {
    const source = stack.sources[stack.indexOf(plan.sourceOf[ino])];
    const from = (plan.sourceOf[ino] - source.inodeBase) * INODE_WORDS;
    const at = ino * INODE_WORDS;
    for (let i = 0; i < INODE_WORDS; i++) out[at + i] = source.inodes[from + i];
    if (out[at + INODE.xattrs] !== NONE) out[at + INODE.xattrs] += source.xattrBase;
    // Flags go: nothing is opaque or implied any more.
    out[at + INODE.layerFlags] = (out[at + INODE.layerFlags] & 0xffff) + source.layerBase;
    out[at + INODE.nlink] = 0;
    switch (out[at + INODE.mode] & S_IFMT) {
      case S_IFDIR:
        out[at + INODE.ref] = plan.firstOf[ino];
        out[at + INODE.refLength] = plan.firstOf[ino + 1] - plan.firstOf[ino];
        out[at + INODE.nlink] = 2;
        break;
      case S_IFREG:
        if (out[at + INODE.ref] !== NONE) out[at + INODE.ref] = objectNumbers[source.objectBase + out[at + INODE.ref]];
        break;
      case S_IFLNK:
        out[at + INODE.ref] += source.nameBase;
        break;
      default:
    }
  }
}

/** What follows from names: types of dirents, parents of folders, link counts. */
function linkInodes(plan: Plan, { inodes, dirents }: TreeFile): void {
  inodes[INODE_WORDS + INODE.parent] = 1;
  for (let ino = 1; ino <= plan.inodes; ino++) {
    for (let dirent = plan.firstOf[ino]; dirent < plan.firstOf[ino + 1]; dirent++) {
      const at = dirent * DIRENT_WORDS;
      const child = dirents[at + DIRENT.inode] * INODE_WORDS;
      const mode = inodes[child + INODE.mode];
      dirents[at + DIRENT.lengthTypeFlags] |= direntType(mode) << 16;
      if ((mode & S_IFMT) === S_IFDIR) {
        inodes[child + INODE.parent] = ino;
        inodes[ino * INODE_WORDS + INODE.nlink]++;
      } else inodes[child + INODE.nlink]++;
    }
  }
}
