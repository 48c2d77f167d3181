/** A short inode has no time of its own but the image's: that which most inodes have makes the smallest image. */
import { ROOT } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';

/** A point in time. */
export interface Epoch {
  readonly seconds: number;
  readonly nanoseconds: number;
}

const BUCKETS = 1 << 16;

/**
 * The time that most inodes have, or nearly so: counted by hash, then the majority within the fullest bucket. The same
 * tree gives the same time; memory does not depend on its size.
 */
export function commonTime(tree: Tree): Epoch {
  const counts = new Uint32Array(BUCKETS);
  for (let ino = ROOT as number; ino <= tree.inodeCount; ino++) counts[bucket(tree, ino)]++;
  let fullest = 0;
  for (let i = 1; i < BUCKETS; i++) if (counts[i] > counts[fullest]) fullest = i;
  let seconds = 0;
  let nanoseconds = 0;
  let lead = 0;
  for (let ino = ROOT as number; ino <= tree.inodeCount; ino++) {
    if (bucket(tree, ino) !== fullest) continue;
    if (lead === 0) {
      seconds = tree.mtimeSec(ino);
      nanoseconds = tree.mtimeNsec(ino);
    }
    lead += tree.mtimeSec(ino) === seconds && tree.mtimeNsec(ino) === nanoseconds ? 1 : -1;
  }
  return { seconds, nanoseconds };
}

function bucket(tree: Tree, ino: number): number {
  const mixed = Math.imul(tree.mtimeSec(ino) | 0, 0x9e3779b1) ^ Math.imul(tree.mtimeNsec(ino), 0x85ebca6b);
  return (mixed >>> 16) ^ (mixed & 0xffff);
}
