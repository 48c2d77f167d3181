/**
 * One Int32 that a process and its serving thread share: whether there is a mount that must go when the process ends. One of the two takes it
 * away, not both: below it there may be another.
 */
const FREE = 0;
const MOUNTED = 1;

/** A place where nothing is mounted yet. */
export function freePlace(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4)).fill(FREE);
}

/** To be called by who mounted, before it looks whether the process is ending. */
export function setMounted(place: Int32Array): void {
  Atomics.store(place, 0, MOUNTED);
}

/** @returns whether the caller is the one who has to take the mount away, if it is still there */
export function claimMount(place: Int32Array): boolean {
  return Atomics.exchange(place, 0, FREE) === MOUNTED;
}
