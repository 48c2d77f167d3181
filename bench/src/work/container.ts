/** Containers of one of the containerds that are compared. */
import { run } from '../harness/programs.js';
import type { Runtime } from '../peers/runtimes.js';

/** What the image that they are made of is called, without its tag. */
export const REPOSITORY = 'bench';

/** A name that no container on this machine has: runc knows them all, whatever containerd they are of. */
export function named({ snapshotter }: Runtime, name: string): string {
  return `bench-${process.pid}-${snapshotter}-${name}`;
}

/** The image, once it was imported. */
export function image({ ctr }: Runtime): string {
  return (
    ctr('image', 'ls', '-q')
      .split('\n')
      .find((name) => name.startsWith(REPOSITORY)) ?? `${REPOSITORY}:latest`
  );
}

/** Ends a container, if it is there. */
export function end({ containerd: { socket } }: Runtime, name: string): void {
  const script = 'ctr -a "$1" task rm -f "$2" > /dev/null 2>&1; ctr -a "$1" container rm "$2" > /dev/null 2>&1; true';
  run('sh', '-c', script, 'sh', socket, name);
}
