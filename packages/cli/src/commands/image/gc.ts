import { listMounts, type GcResult, type Tally } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, plural, shortDigest } from '../../format.js';
import { note, print, printJson } from '../../output.js';
import { gcProgress } from '../../gc-progress.js';

interface Options extends GlobalOptions {
  readonly dryRun?: boolean;
  readonly why?: boolean;
  readonly json?: boolean;
}

/** `layerfs gc` */
export async function run(options: Options): Promise<void> {
  const signal = interruption();
  const progress = gcProgress(options);
  await withStore(options, async (store) => {
    // What mounts that are gone have left is no reason to keep anything.
    listMounts(store.root);
    const result = await store
      .gc({ dryRun: options.dryRun === true, onProgress: progress.event, signal })
      .finally(() => progress.clear());
    if (options.json === true) return printJson(result);
    if (options.quiet === true) return;
    report(result);
    const { reasonText } = await import('layerfs');
    if (options.why !== true) return;
    for (const { kind, id, bytes, because } of result.kept) {
      const size = bytes === 0 ? '' : ` ${formatBytes(bytes)}`;
      const reasons = because.map((reason) => reasonText(reason)).join('; ');
      print(
        `kept ${kind} ${id.startsWith('sha256:') ? shortDigest(id) : id}${size}${reasons === '' ? '' : `: ${reasons}`}`,
      );
    }
  });
}

function report(result: GcResult): void {
  const { freed, freedBytes, dryRun, images, leases, problems, disagreeing, disagreements } = result;
  const parts: string[] = [];
  const add = ({ count, bytes }: Tally, what: string): void => {
    if (count > 0) parts.push(`${plural(count, what)} (${formatBytes(bytes)})`);
  };
  if (images.length > 0) parts.push(plural(images.length, 'image without a name', 'images without a name'));
  if (leases > 0) parts.push(plural(leases, 'expired lease'));
  add(freed.layers, 'layer');
  add(freed.objects, 'object');
  add(freed.chains, 'chain');
  add(freed.blobs, 'blob');
  add(freed.strays, 'stray object');
  print(
    `${dryRun ? 'would free' : 'freed'} ${formatBytes(freedBytes)}${parts.length === 0 ? '' : `: ${parts.join(', ')}`}`,
  );
  for (const problem of problems) note(`layerfs: ${problem}`);
  for (const { object, counted, listed } of disagreements) {
    note(`layerfs: object ${object} is counted ${counted} times and listed by ${plural(listed, 'layer')}; it stays`);
  }
  if (disagreeing > disagreements.length) note(`layerfs: and ${disagreeing - disagreements.length} more of that kind`);
}
