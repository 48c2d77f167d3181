/** What is known of the process that makes a request, where the kernel leaves a decision to the file system. */
import { readFileSync } from 'node:fs';

/** Numbers of capabilities(7). */
export const CAP = { FOWNER: 3, FSETID: 4, SYS_ADMIN: 21 } as const;

/** A process's rights, read from /proc; one that is gone has none. */
export class ProcessRights {
  readonly #status: string;

  constructor(pid: number) {
    this.#status = status(pid);
  }

  has(capability: number): boolean {
    const match = /^CapEff:\s*([0-9a-f]+)$/m.exec(this.#status);
    return match !== null && ((BigInt(`0x${match[1]}`) >> BigInt(capability)) & 1n) === 1n;
  }

  /** The user that counts for files. */
  isUser(uid: number): boolean {
    return /^Uid:\s*\d+\s+\d+\s+\d+\s+(\d+)$/m.exec(this.#status)?.[1] === String(uid);
  }

  inGroup(gid: number): boolean {
    const own = /^Gid:\s*\d+\s+\d+\s+\d+\s+(\d+)$/m.exec(this.#status)?.[1];
    const others = /^Groups:\s*(.*)$/m.exec(this.#status)?.[1] ?? '';
    return [own, ...others.split(' ')].includes(String(gid));
  }
}

function status(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch (error) {
    if (error instanceof Error) return '';
    throw error;
  }
}

/** Names of attributes that a process may list: `trusted.` ones are for administrators. */
export function visibleXattrs(names: readonly string[], pid: number): readonly string[] {
  if (!names.some((name) => name.startsWith('trusted.'))) return names;
  return new ProcessRights(pid).has(CAP.SYS_ADMIN) ? names : names.filter((name) => !name.startsWith('trusted.'));
}
