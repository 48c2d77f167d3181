/** What a failing machine lost of a snapshotter's folders. */
import { LayerfsError } from 'layerfs';
import type { Layout } from './folders/layout.js';
import type { Given, Lowers } from './lowers/lowers.js';
import { shown, type Records } from './records.js';

/** What restoring works with. */
export interface Restoring {
  readonly layout: Layout;
  readonly records: Records;
  readonly lowers: Lowers;
  /** Makes the folders of a snapshot, for {@link Layout.place}. */
  readonly stage: (kind: 'active' | 'view', given: Given) => string;
  readonly onProblem: (error: unknown) => void;
}

/**
 * Folders that were not on disk yet when the machine failed, though the records were: nothing in them was, either. Those that can be
 * written to are made again; a layer that is gone must not become an empty one. Nobody may change records meanwhile.
 */
export async function restore({ layout, records, lowers, stage, onProblem }: Restoring): Promise<void> {
  const placed = new Set(layout.placed());
  for (const { id, kind, name, given, stack, project } of records.all()) {
    if (stack !== undefined || placed.has(id)) continue;
    if (kind === 'committed' || given === undefined || project !== undefined) {
      onProblem(new LayerfsError('corrupt', `The folder of snapshot ${shown(name)} is gone: remove the snapshot`));
      continue;
    }
    try {
      await lowers.ensure(given);
      layout.place(stage(kind, given), id);
    } catch (error) {
      onProblem(error);
    }
  }
}
