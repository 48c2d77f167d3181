import type { FsckOptions, FsckProgress, FsckReport, Problem } from 'layerfs';
import { interruption } from '../../context.js';
import { EXIT } from '../../errors.js';
import { formatBytes, plural } from '../../format.js';
import { note, print, printJson } from '../../output.js';
import { Progress, progressScreen } from '../../progress.js';
import type { RegistryOptions } from '../registry/options.js';

interface Options extends RegistryOptions {
  readonly repair?: boolean;
  readonly from?: readonly string[];
  readonly afresh?: boolean;
  readonly json?: boolean;
}

/** `layerfs fsck` */
export async function run(options: Options): Promise<void> {
  const signal = interruption();
  const { checkStore } = await import('layerfs');
  const registry = options.repair === true ? (await import('../registry/options.js')).registryOf(options) : undefined;
  const progress = new Progress(progressScreen(options));
  const fsckOptions: FsckOptions = {
    repair: options.repair === true,
    afresh: options.afresh === true,
    ...(registry === undefined ? {} : { registry }),
    ...(options.from === undefined ? {} : { from: options.from }),
    onProgress: (event) => show(event, progress, options),
    signal,
  };
  const report = await checkStore(options.root, fsckOptions).finally(() => {
    progress.clear();
    registry?.close();
  });
  if (options.json === true) printJson(report);
  else printReport(report, options.quiet === true);
  // The work is done: what was found is in the code.
  process.exitCode = { sound: EXIT.ok, repaired: EXIT.repaired, damaged: EXIT.damaged }[report.state];
}

function show(event: FsckProgress, progress: Progress, options: Options): void {
  if (event.kind === 'reading') progress.update('fsck', 'reading', event.bytes, event.totalBytes);
  else if (event.kind === 'comparing') progress.finish('fsck', 'reading', 'done');
  else if (event.kind === 'repairing') progress.update('repair', `repairing ${event.what}`, 0, 0);
  else if (options.quiet !== true && options.json !== true) {
    progress.clear();
    note(`layerfs: waiting: ${event.what}`);
  }
}

function printReport(report: FsckReport, quiet: boolean): void {
  for (const problem of report.problems) {
    if (quiet) print(`${problem.kind} ${problem.path}`);
    else printProblem(problem);
  }
  if (quiet) return;
  if (report.omitted > 0) print(`… and ${report.omitted} more`);
  for (const path of report.unsettled) print(`perhaps under way: ${path}`);
  const { objects, layers, chains, blobs, images, snapshots, bytes } = report.checked;
  if (report.resumed !== undefined)
    print(`this is the rest of the check begun at ${report.resumed} (--afresh begins anew)`);
  print(
    `checked ${plural(images, 'image')}, ${plural(snapshots, 'snapshot')}, ${plural(layers, 'layer')}, ` +
      `${plural(objects, 'object')}, ${plural(blobs, 'blob')}, ${plural(chains, 'merged tree')}: ${formatBytes(bytes)} read`,
  );
  print(verdict(report));
  if (report.affected.length > 0) print(`affected: ${report.affected.join(', ')}`);
  if (report.quarantine !== undefined) print(`what was moved away lies in ${report.quarantine}`);
  for (const step of report.next) print(step);
}

function printProblem({ kind, path, expected, found, images, outcome, severity }: Problem): void {
  print(`${severity}: ${kind} ${path}`);
  print(`  expected ${expected}`);
  print(`  found    ${found}`);
  if (images.length > 0) print(`  affects  ${images.join(', ')}`);
  if (outcome !== undefined) print(`  ${outcome.state}: ${outcome.detail}`);
}

function verdict({ state, problems, omitted }: FsckReport): string {
  const count = problems.filter(({ severity }) => severity !== 'notice').length + omitted;
  if (state === 'sound') return 'the store is sound';
  const text = plural(count, 'problem');
  return state === 'repaired' ? `${text}, all repaired` : `${text}: the store is damaged`;
}
