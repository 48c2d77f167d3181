import { freezeSnapshot, printable, type Change, type Store } from 'layerfs';
import { withStore, type GlobalOptions } from '../../context.js';
import { print, printJson } from '../../output.js';
import { snapshotName } from './target.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

const LETTER = { added: 'A', changed: 'C', deleted: 'D' } as const;

/** `layerfs diff SNAPSHOT` and `layerfs diff IMAGE IMAGE` */
export async function run(what: string, image: string | undefined, options: Options): Promise<void> {
  await withStore(options, async (store) => {
    const changes = await (image === undefined ? snapshotDiff(store, what) : store.diff(what, image));
    if (options.json === true) return printJson(changes.map(({ kind, path }) => ({ kind, path: shown(path) })));
    if (changes.length > 0) print(changes.map((change) => line(change)).join('\n'));
  });
}

function snapshotDiff(store: Store, what: string): Promise<Change[]> {
  const name = snapshotName(store, what);
  return store.diff(name, undefined, { freeze: () => freezeSnapshot(store.root, name) });
}

function line({ kind, path }: Change): string {
  return `${LETTER[kind]} ${shown(path)}`;
}

function shown(path: string): string {
  return `/${printable(path)}`;
}
