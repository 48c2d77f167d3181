import {
  explain,
  explainMounted,
  type Explanation,
  type LayerEntry,
  type LayerPlace,
  type SnapshotEntry,
} from 'layerfs';
import { withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, oneLine, shortDigest } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs explain MOUNTPOINT/PATH` and `layerfs explain IMAGE PATH` */
export async function run(target: string, path: string | undefined, options: Options): Promise<void> {
  await withStore(options, async (store) => {
    const explanation = path === undefined ? await explainMounted(store, target) : await explain(store, target, path);
    if (options.json === true) return printJson(explanation);
    print(describe(explanation));
  });
}

/** An explanation as text. */
export function describe(explanation: Explanation & { readonly snapshot?: SnapshotEntry }): string {
  const lines = [explanation.path];
  const { snapshot } = explanation;
  if (snapshot !== undefined && snapshot.state !== 'unchanged') {
    lines.push(`  ${snapshot.state} in snapshot ${snapshot.name}`, `    ${snapshot.file ?? ''}`);
    if (explanation.shown !== undefined) lines.push('  the image has:');
  }
  const { shown, removed } = explanation;
  if (shown !== undefined) {
    lines.push(`  ${entry(shown)}`, `  from ${place(shown.layer)}`);
    if (shown.links > 1 && shown.type !== 'folder') lines.push(`  one of ${shown.links} hardlinks, inode ${shown.ino}`);
    for (const [name, value] of Object.entries(shown.xattrs)) lines.push(`  xattr ${name}=${value}`);
    if (shown.content !== undefined) lines.push(`  content ${shown.content.digest}`, `    in ${shown.content.file}`);
  } else if (removed !== undefined) lines.push(`  removed by ${place(removed.layer)} (${removed.how})`);
  for (const hidden of explanation.hides) {
    lines.push(`  ${hidden.how === 'merged' ? 'merged with' : `hides (${hidden.how})`} ${entry(hidden)}`);
    lines.push(`    of ${place(hidden.layer)}`);
  }
  return lines.join('\n');
}

function entry(item: LayerEntry): string {
  const target = item.target === undefined ? '' : ` -> ${item.target}`;
  const size = item.type === 'file' ? `, ${formatBytes(item.size)}` : '';
  return `${item.modeText} ${item.uid}:${item.gid}${size}, ${item.mtime}${target}`;
}

function place(layer: LayerPlace): string {
  const by = layer.createdBy === undefined ? '' : `: ${oneLine(layer.createdBy).slice(0, 100)}`;
  return `layer ${layer.index} of ${layer.of} (${shortDigest(layer.diffID)}${by})`;
}
