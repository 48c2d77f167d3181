import { readFileSync } from 'node:fs';

/** Whether user ids of this process are those of the machine: it is in no user namespace that shifts them. */
export function hasMachineIds(): boolean {
  try {
    return /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'));
  } catch (error) {
    // A kernel without user namespaces, or no /proc.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    throw error;
  }
}
