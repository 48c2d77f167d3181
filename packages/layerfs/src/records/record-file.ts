/** Records in a file: SQLite, set up so that what a transaction wrote is on disk when it returns. */
import { closeSync, existsSync, linkSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { LayerfsError } from '../core/error.js';
import { RecordLog } from './record-log.js';
import { syncFolder } from './sync-folder.js';

/** How long to wait while others write, in milliseconds. They need some at most, unless the disk is stuck. */
const PATIENCE = 60_000;
/** Pages of 4096 bytes that are kept in memory. */
const CACHE = 4096;

/** Rows that are in memory at once where all are gone through. */
const PAGE = 10_000;

/** What a column holds. */
export type Cell = string | number | Uint8Array | null;

/** How to open records. */
export interface RecordFileOptions {
  /**
   * Nobody else has them open. Then a transaction is on disk when {@link RecordFile.synced} says so, not when it returns: others may
   * go on meanwhile, and share the wait.
   */
  readonly sole?: boolean;
}

/**
 * An open file of records. Any number of threads and processes may have it open; one at a time writes, and the others read
 * meanwhile. Nobody may open and close the file by other means in the same process: POSIX locks would be lost by it.
 *
 * Statements get values by the function `given(INDEX)`, and say what they find by the function `row(COLUMN, …)`. Nothing is
 * prepared, because the binding leaves a prepared statement to the garbage collector, and the file would stay open until then.
 */
export class RecordFile {
  readonly path: string;
  readonly #database: DatabaseSyncInstance;
  readonly #log: RecordLog | undefined;
  #given: readonly Cell[] = [];
  #rows: Cell[][] = [];

  /** @throws LayerfsError corrupt naming the file; what opening throws */
  constructor(path: string, { sole = false }: RecordFileOptions = {}) {
    this.path = path;
    if (!existsSync(path)) throw damaged(path, 'is not there');
    try {
      this.#database = new DatabaseSync(path, { timeout: PATIENCE });
    } catch (error) {
      throw explained(error, path);
    }
    try {
      const database = this.#database;
      // Normal: at checkpoints, and before the log is written from its beginning again.
      const waits = sole ? 'normal' : 'full';
      database.exec(`pragma synchronous = ${waits}; pragma cache_size = ${CACHE}; pragma trusted_schema = off`);
      database.function('given', { directOnly: true }, (index: number) => this.#given[index]);
      database.function('row', { directOnly: true, varargs: true }, (...cells: Cell[]) => {
        this.#rows.push(cells);
        return null;
      });
      // The first look at the file.
      const [[mode]] = this.select('select row(journal_mode) from pragma_journal_mode');
      if (mode !== 'wal') throw damaged(path, 'has no records');
      this.#log = sole ? new RecordLog(`${path}-wal`) : undefined;
    } catch (error) {
      this.#database.close();
      throw explained(error, path);
    }
  }

  /**
   * Makes a file of records with its tables. It gets its name when it is complete and on disk; one that is there, perhaps
   * since a moment, stays.
   * @param scratch a folder on the same disk, for what is not ready
   * @param fill writes the first records
   */
  static make(path: string, tables: string, scratch: string, fill?: (file: RecordFile) => void): void {
    if (existsSync(path)) return;
    const folder = mkdtempSync(join(scratch, 'meta-'));
    try {
      const made = join(folder, 'records');
      closeSync(openSync(made, 'wx', 0o600));
      const database = new DatabaseSync(made);
      try {
        database.exec(`pragma journal_mode = wal; pragma synchronous = full; begin; ${tables}; commit`);
      } finally {
        database.close();
      }
      const file = new RecordFile(made);
      try {
        fill?.(file);
      } finally {
        // The last one to close it writes everything into the file itself.
        file.close();
      }
      linkSync(made, path);
      syncFolder(dirname(path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** What a query says by `row`, as of one moment. */
  select(sql: string, ...given: Cell[]): Cell[][] {
    this.#rows = [];
    this.#execute(sql, given);
    return this.#rows;
  }

  /**
   * Some columns of all rows of a table in the order of the first one, its key. Read `size` at a time: what changes meanwhile
   * may be seen, but for {@link hold}.
   */
  *pages(table: string, columns: readonly string[], size = PAGE): Generator<Cell[]> {
    const query = `select row(${columns.join()}) from ${table}`;
    const order = `order by ${columns[0]} limit ${size}`;
    for (let rows = this.select(`${query} ${order}`); ;) {
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < size) return;
      rows = this.select(`${query} where ${columns[0]} > given(0) ${order}`, last[0]);
    }
  }

  /** The value of a key in a table of those two columns. */
  value(table: string, key: string): string | undefined {
    return this.select(`select row(value) from ${table} where key = given(0)`, key)[0]?.[0] as string | undefined;
  }

  /** Sets it. Only within {@link transaction}. */
  put(table: string, key: string, value: string): void {
    this.change(`insert or replace into ${table} values (given(0), given(1))`, key, value);
  }

  /** Takes it away. Only within {@link transaction}. */
  remove(table: string, key: string): void {
    this.change(`delete from ${table} where key = given(0)`, key);
  }

  /** Changes records. Only within {@link transaction}. */
  change(sql: string, ...given: Cell[]): void {
    if (!this.#database.isTransaction) throw new LayerfsError('internal', 'a record is written in a transaction only');
    this.#execute(sql, given);
  }

  #execute(sql: string, given: readonly Cell[]): void {
    this.#given = given;
    try {
      this.#database.exec(sql);
    } finally {
      this.#given = [];
    }
  }

  /** Lets the log take no more room than one transaction does, unless others read. */
  economize(): void {
    this.#database.exec('pragma wal_autocheckpoint = 1');
  }

  /** All that is read from now on is as of one moment, until it is released. Until then nothing can be written. */
  hold(): { release: () => void } {
    this.#database.exec('begin');
    // With the first look at a table.
    this.select('select row(count(*)) from sqlite_schema');
    return { release: () => this.#database.exec('commit') };
  }

  /** All that is read within is as of one moment. */
  reading<T>(action: () => T): T {
    if (this.#database.isTransaction) return action();
    const moment = this.hold();
    try {
      return action();
    } finally {
      moment.release();
    }
  }

  /**
   * Makes sure that what is seen now stays so. What a transaction wrote that failed, or whose process was killed, may lie
   * behind the last whole one, complete but unknown: after a crash it would be found. Writing takes its place.
   */
  settle(): void {
    this.transaction(() => {
      const [[version]] = this.select('select row(user_version) from pragma_user_version');
      this.#database.exec(`pragma user_version = ${(Number(version) + 1) % 2 ** 31}`);
    });
  }

  /** All that is done within is on disk when it returns ({@link RecordFileOptions.sole}: later), or, when it throws, has not happened. */
  transaction<T>(action: () => T): T {
    this.#log?.check();
    this.#database.exec('begin immediate');
    try {
      const result = action();
      this.#database.exec('commit');
      return result;
    } catch (error) {
      // Some errors have ended it already.
      if (this.#database.isTransaction) this.#database.exec('rollback');
      throw error;
    }
  }

  /** Ends when all transactions up to now are on disk. @throws what waiting for the disk throws; then no more are taken */
  async synced(): Promise<void> {
    await this.#log?.synced();
  }

  /** Reads everything there is. @returns undefined, or what is wrong with the file */
  check(): string | undefined {
    const said = this.select('select row(integrity_check) from pragma_integrity_check').join('; ');
    return said === 'ok' ? undefined : said;
  }

  close(): void {
    try {
      this.#log?.close();
    } finally {
      this.#database.close();
    }
  }
}

/** An error of SQLite as a system error's code says it, or `damaged`; undefined: it is none. */
export function codeOf(error: unknown): string | undefined {
  const { code, errcode, systemErrno } = (error ?? {}) as { code?: unknown; errcode?: unknown; systemErrno?: unknown };
  if (code !== 'ERR_SQLITE_ERROR' || typeof errcode !== 'number') return undefined;
  if (typeof systemErrno === 'number' && SYSTEM.has(systemErrno)) return SYSTEM.get(systemErrno);
  return CODES.get(errcode & 0xff) ?? 'EIO';
}

/** SQLite's result codes. */
const CODES: ReadonlyMap<number, string> = new Map([
  [3, 'EACCES'],
  [5, 'EBUSY'],
  [7, 'ENOMEM'],
  [8, 'EROFS'],
  [11, 'damaged'],
  [13, 'ENOSPC'],
  [23, 'EACCES'],
  [26, 'damaged'],
]);
const SYSTEM: ReadonlyMap<number, string> = new Map([
  [12, 'ENOMEM'],
  [13, 'EACCES'],
  [23, 'ENFILE'],
  [24, 'EMFILE'],
  [28, 'ENOSPC'],
  [30, 'EROFS'],
  [122, 'EDQUOT'],
]);

/** Whatever is wrong with the content of the file is told with its name. */
function explained(error: unknown, path: string): unknown {
  return codeOf(error) === 'damaged' ? damaged(path, `cannot be read: ${(error as Error).message}`) : error;
}

function damaged(path: string, what: string): LayerfsError {
  return new LayerfsError('corrupt', `the store is damaged: ${path} ${what}`);
}
