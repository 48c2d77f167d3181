import type { Layout } from './folders/layout.js';
import type { Quotas } from './labels/quota.js';
import { MountedFolders } from './lowers/mounted.js';
import type { Lowers } from './lowers/lowers.js';

/** How long what shows layers stays mounted without a snapshot that needs it. */
const IDLE_MS = 10_000;

/** What removing works with. */
export interface Removing {
  readonly layout: Layout;
  readonly lowers: Lowers;
  readonly quotas: Quotas;
  /** Does something in the background. */
  readonly behind: (action: () => Promise<void>) => Promise<void>;
  readonly onProblem: (error: unknown) => void;
}

/** What nobody needs any more goes, in the background: folders of snapshots, and what shows layers. */
export class Removals {
  readonly #with: Removing;
  #idle: NodeJS.Timeout | undefined;
  /** IDs of snapshots whose folders nobody needs any more. */
  readonly #vacating = new Set<string>();
  #vacated = Promise.resolve();
  #discarded = Promise.resolve();

  constructor(parts: Removing) {
    this.#with = parts;
  }

  /** Removes folders that nobody needs any more. */
  release({ ids, paths }: ReturnType<Lowers['sweep']>): void {
    const { layout, lowers, onProblem } = this.#with;
    if (ids.length > 0) this.#vacate(ids);
    for (const path of paths) this.discard(layout.takeAway(path));
    // A while later: one container often follows another.
    this.#idle ??= setTimeout(() => {
      this.#idle = undefined;
      try {
        lowers.unmountIdle();
      } catch (error) {
        onProblem(error);
      }
    }, IDLE_MS).unref();
  }

  /** Once for all that come in a moment: it looks at the mounts of all processes. */
  #vacate(ids: readonly string[]): void {
    const first = this.#vacating.size === 0;
    for (const id of ids) this.#vacating.add(id);
    if (!first) return;
    const { behind, layout, lowers } = this.#with;
    this.#vacated = behind(async () => {
      await new Promise(setImmediate);
      // Taken first: what fails is for the next sweep, and must not keep others from being looked at.
      const taken = [...this.#vacating];
      this.#vacating.clear();
      const mounted = new MountedFolders(layout.snapshots);
      for (const id of taken) {
        // By somebody who removed the snapshot first, or had it committed: there is another sweep.
        if (mounted.has(id)) continue;
        this.discard(layout.unplace(id));
        lowers.removed(id);
      }
    });
  }

  /** Ends when the folders of snapshots that were released are out of their place. */
  get vacated(): Promise<void> {
    return this.#vacated;
  }

  /**
   * Deletes what was staged, or taken away.
   * @param project what its limit goes with
   */
  discard(staged: string | undefined, project?: number): void {
    if (staged === undefined) return;
    // One after the other, and after what is under way: whoever asks for something must not wait for what was.
    const before = this.#discarded;
    const { behind, layout, quotas } = this.#with;
    this.#discarded = behind(async () => {
      await before;
      await new Promise(setImmediate);
      await layout.discard(staged);
      if (project !== undefined) quotas.lift(project);
    });
  }

  /** Unmounts nothing any more. What is being removed goes on. */
  close(): void {
    clearTimeout(this.#idle);
  }
}
