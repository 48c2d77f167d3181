/**
 * A process that seals folders: takes a {@link SealRequest} as a line of JSON on standard input, and says what came of it as a line on
 * standard output. It ends with the process that started it.
 */
import { setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { LayerfsError, openStore, type DiffID, type Store } from 'layerfs';

/** What is to be sealed. */
export interface SealRequest {
  readonly folder: string;
  readonly below: readonly DiffID[];
  readonly label: string;
}

const abort = new AbortController();
const { signal } = abort;
const [, , root = ''] = process.argv;
const requests: SealRequest[] = [];
let working = false;
let store: Store | undefined;

// Containers come first.
setPriority(10);
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  requests.push(JSON.parse(line) as SealRequest);
  void work();
});
// Whoever asked is gone, or does not want it any more.
lines.on('close', () => {
  abort.abort();
  void work();
});
process.stdin.on('error', () => abort.abort());

async function work(): Promise<void> {
  if (working) return;
  working = true;
  for (let request = requests.shift(); request !== undefined && !signal.aborted; request = requests.shift()) {
    process.stdout.write(`${JSON.stringify(await seal(request))}\n`);
  }
  working = false;
  if (signal.aborted) await store?.close();
}

async function seal({ below, folder, label }: SealRequest): Promise<object> {
  try {
    store ??= await openStore({ root, signal });
    return { sealed: await store.sealFolder(folder, below, { label, signal }) };
  } catch (error) {
    const { code, message } = error instanceof LayerfsError ? error : { code: 'internal', message: String(error) };
    return { failed: { code, message } };
  }
}
