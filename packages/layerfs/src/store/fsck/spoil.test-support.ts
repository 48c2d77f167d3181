/** Changes records as only a broken disk, or a bug, would: for tests. */
import { open } from 'lmdb';

/** One database of records. */
export interface SpoiltTable {
  set(key: string | Uint8Array, value: string | Uint8Array): void;
  remove(key: string | Uint8Array): void;
  /** Changes a field or more of a record. */
  edit(key: string, edit: (value: Record<string, unknown>) => void): void;
}

/** @param folder the store's `meta`, which nobody else has open */
export async function spoilRecords(
  folder: string,
  change: (table: (name: string) => SpoiltTable) => void,
): Promise<void> {
  const env = open({ path: folder, maxDbs: 16, overlappingSync: false });
  change((name) => {
    const table = env.openDB<Buffer, Buffer>(name, { encoding: 'binary', keyEncoding: 'binary' });
    return {
      set(key, value) {
        table.putSync(Buffer.from(key as string), Buffer.from(value as string));
      },
      remove(key) {
        table.removeSync(Buffer.from(key as string));
      },
      edit(key, edit) {
        const value = JSON.parse(String(table.get(Buffer.from(key)))) as Record<string, unknown>;
        edit(value);
        table.putSync(Buffer.from(key), Buffer.from(JSON.stringify(value)));
      },
    };
  });
  await env.close();
}
