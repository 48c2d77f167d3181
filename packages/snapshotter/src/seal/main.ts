/** A process that seals one folder: says what came of it, as JSON on standard output. It ends with the process that started it. */
import { setPriority } from 'node:os';
import { LayerfsError, openStore, type DiffID } from 'layerfs';

/** What is to be sealed. */
export interface SealRequest {
  readonly store: string;
  readonly folder: string;
  readonly below: readonly DiffID[];
  readonly label: string;
}

const abort = new AbortController();
const [, , text = '{}'] = process.argv;
const request = JSON.parse(text) as SealRequest;
// Whoever asked is gone, or does not want it any more.
process.stdin.on('end', () => abort.abort()).on('error', () => abort.abort());
process.stdin.resume().unref();
// Containers come first.
setPriority(10);
try {
  const store = await openStore({ root: request.store, signal: abort.signal });
  try {
    const { below, folder, label } = request;
    process.stdout.write(
      JSON.stringify({ sealed: await store.sealFolder(folder, below, { label, signal: abort.signal }) }),
    );
  } finally {
    await store.close();
  }
} catch (error) {
  const { code, message } = error instanceof LayerfsError ? error : { code: 'internal', message: String(error) };
  process.stdout.write(JSON.stringify({ failed: { code, message } }));
}
process.stdin.destroy();
