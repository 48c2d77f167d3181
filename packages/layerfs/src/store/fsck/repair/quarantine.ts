/** Where repairs put what is damaged and cannot be repaired: ROOT/quarantine/TIME-XXXXXX/, see docs/store.md. */
import {
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isErrno } from '../../errors.js';
import type { Problem } from '../problem.js';

/** The quarantine of one repair; its folder is made with the first thing in it. Paths in it are those in the store. */
export class Quarantine {
  readonly #root: string;
  readonly #records: { record: string; value: string }[] = [];
  #folder: string | undefined;

  constructor(root: string) {
    this.#root = root;
  }

  /** Undefined as long as nothing is in it. */
  get folder(): string | undefined {
    return this.#folder;
  }

  /** Moves a file or folder out of the store. @param path below the store's folder */
  move(path: string): void {
    renameSync(join(this.#root, path), this.#place(path));
  }

  /** Puts another name of a file there: the file itself is about to be replaced, with no moment in between without one. */
  keep(path: string): void {
    const from = join(this.#root, path);
    const stats = lstatSync(from, { throwIfNoEntry: false });
    if (stats === undefined) return;
    const to = this.#place(path);
    if (!stats.isFile()) return renameSync(from, to);
    try {
      linkSync(from, to);
    } catch (error) {
      // A filesystem without links.
      if (!isErrno(error, 'EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'EMLINK', 'ENOSYS')) throw error;
      copyFileSync(from, to);
    }
  }

  /** Keeps the text of a record that is taken away. */
  record(record: string, value: string | undefined): void {
    this.#make();
    this.#records.push({ record, value: value ?? '' });
  }

  /** Writes what all this was. */
  finish(problems: readonly Pick<Problem, 'kind' | 'path' | 'expected' | 'found'>[]): void {
    if (this.#folder === undefined) return;
    const report = {
      time: new Date().toISOString(),
      problems: problems.map(({ kind, path, expected, found }) => ({ kind, path, expected, found })),
      records: this.#records,
    };
    writeFileSync(join(this.#folder, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`, { mode: 0o600 });
  }

  #make(): string {
    if (this.#folder !== undefined) return this.#folder;
    const all = join(this.#root, 'quarantine');
    mkdirSync(all, { recursive: true, mode: 0o700 });
    const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
    return (this.#folder = mkdtempSync(join(all, `${time}-`)));
  }

  #place(path: string): string {
    const place = join(this.#make(), path);
    mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
    if (!existsSync(place)) return place;
    for (let n = 2; ; n++) if (!existsSync(`${place}.${n}`)) return `${place}.${n}`;
  }
}
