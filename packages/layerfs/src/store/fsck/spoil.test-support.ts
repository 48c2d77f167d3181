/** Changes records as only a broken disk, or a bug, would: for tests. */
import { RecordFile } from '../../records/record-file.js';

/** A table of JSON records. */
export interface SpoiltTable {
  set(key: string, value: string): void;
  remove(key: string): void;
  /** Changes a field or more of a record. */
  edit(key: string, edit: (value: Record<string, unknown>) => void): void;
}

/** @param path the store's records */
export function spoilRecords(
  path: string,
  change: (
    table: (name: string) => SpoiltTable,
    setCount: (sha256: Uint8Array, layers: number, size: number) => void,
  ) => void,
): void {
  const file = new RecordFile(path);
  const table = (name: string): SpoiltTable => {
    const set = (key: string, value: string): void => {
      file.put(name, key, value);
    };
    return {
      set,
      remove: (key) => file.remove(name, key),
      edit(key, edit) {
        const value = JSON.parse(file.value(name, key) ?? '{}') as Record<string, unknown>;
        edit(value);
        set(key, JSON.stringify(value));
      },
    };
  };
  file.transaction(() =>
    change(table, (sha256, layers, size) => {
      if (layers === 0) file.change('delete from objects where sha256 = given(0)', sha256);
      else file.change('insert or replace into objects values (given(0), given(1), given(2))', sha256, layers, size);
    }),
  );
  file.close();
}
