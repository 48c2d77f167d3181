/** Requests that fail on purpose. */
import { ErrnoError } from '@layerfs/linux';

/** What a program does to a file system, as far as faults are concerned. */
export type Kind = 'look' | 'open' | 'read' | 'add' | 'write' | 'remove' | 'sync';

/** Which requests fail: one, or from one on all of the kinds that `errno` speaks of. */
export interface Plan {
  /** Counted from 1 since the plan was made. */
  readonly at: number;
  readonly errno: number;
  readonly how: 'once' | 'on';
  readonly kinds: ReadonlySet<Kind>;
}

const KINDS: Record<string, readonly Kind[]> = {
  changes: ['add', 'write', 'remove', 'sync'],
  // A full disk takes nothing new, and finds it out when it writes.
  space: ['add', 'write', 'sync'],
  change: ['add', 'write', 'remove'],
  open: ['open', 'add'],
};

/** Counts requests, and says which of them are to fail. */
export class Faults {
  #plan: Plan | undefined;
  count = 0;

  /** `AT:ERRNO:once|on:changes|space|change|open`; an empty text ends it. */
  plan(text: string): void {
    this.count = 0;
    const [at, errno, how, kinds] = text.split(':');
    this.#plan =
      text === ''
        ? undefined
        : { at: Number(at), errno: Number(errno), how: how === 'on' ? 'on' : 'once', kinds: new Set(KINDS[kinds]) };
  }

  /** @throws ErrnoError when it is this request's turn */
  request(kind: Kind): void {
    const plan = this.#plan;
    if (plan === undefined || !plan.kinds.has(kind)) return;
    this.count++;
    if (this.count === plan.at || (plan.how === 'on' && this.count > plan.at)) throw new ErrnoError(plan.errno, kind);
  }
}
