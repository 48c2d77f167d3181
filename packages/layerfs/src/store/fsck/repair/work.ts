import { syncfs } from '@layerfs/linux';
import { closeSync, openSync } from 'node:fs';
import type { FsckOptions } from '../problem.js';
import type { CheckState } from '../state.js';
import type { Quarantine } from './quarantine.js';

/** What the parts of a repair share, and what they tell of what they did, by path. */
export class RepairWork {
  readonly state: CheckState;
  readonly quarantine: Quarantine;
  readonly options: FsckOptions;
  /** For what is made anew before it takes its place: on the store's filesystem. */
  readonly folder: string;
  readonly #details = new Map<string, string>();
  readonly #quarantined = new Set<string>();
  readonly #failed = new Set<string>();

  constructor(state: CheckState, quarantine: Quarantine, folder: string, options: FsckOptions) {
    this.state = state;
    this.quarantine = quarantine;
    this.folder = folder;
    this.options = options;
  }

  done(path: string, detail: string): void {
    this.#failed.delete(path);
    this.#details.set(path, detail);
  }

  failed(path: string, why: string): void {
    this.#failed.add(path);
    this.#details.set(path, why);
  }

  hasFailed(path: string): boolean {
    return this.#failed.has(path);
  }

  /** It was moved away, and nothing took its place so far. */
  quarantined(path: string, detail = 'moved to quarantine'): void {
    this.#quarantined.add(path);
    this.#details.set(path, detail);
  }

  detail(path: string): string | undefined {
    return this.#details.get(path);
  }

  wasQuarantined(path: string): boolean {
    return this.#quarantined.has(path);
  }

  /** Everything that was written so far is durable afterwards. */
  sync(): void {
    const fd = openSync(this.state.paths.root, 'r');
    try {
      syncfs(fd);
    } finally {
      closeSync(fd);
    }
  }

  tell(what: string): void {
    this.options.onProgress?.({ kind: 'repairing', what });
  }
}
