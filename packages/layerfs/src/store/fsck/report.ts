import { Affected } from './affected.js';
import type { Comparison } from './compare.js';
import {
  keyOf,
  MAX_PROBLEMS,
  PROBLEM_KINDS,
  type Checked,
  type Finding,
  type FsckReport,
  type Outcome,
  type Problem,
} from './problem.js';

const ORDER = ['damage', 'litter', 'notice'];
const KINDS = Object.keys(PROBLEM_KINDS);

/** What a report is made of. */
export interface ReportParts {
  readonly root: string;
  readonly checked: Checked;
  readonly resumed: string | undefined;
  readonly findings: readonly Finding[];
  /** Of a repair, by key. */
  readonly outcomes?: ReadonlyMap<string, Outcome>;
  readonly unsettled: readonly string[];
  readonly quarantine?: string | undefined;
}

/** Puts a report together: each problem once, the worst first. */
export function makeReport(parts: ReportParts, comparison: Comparison): FsckReport {
  const distinct = [...new Map(parts.findings.map((finding) => [keyOf(finding), finding])).values()];
  const affected = new Affected(comparison, distinct);
  const all = distinct
    .map((finding): Problem => {
      const outcome = parts.outcomes?.get(keyOf(finding));
      return {
        ...finding,
        severity: PROBLEM_KINDS[finding.kind],
        images: affected.images(finding),
        ...(outcome === undefined ? {} : { outcome }),
      };
    })
    .toSorted((a, b) => rank(a) - rank(b) || (a.path < b.path ? -1 : 1));
  const real = all.filter(({ severity }) => severity !== 'notice');
  const left = real.filter(({ outcome }) => outcome?.state !== 'repaired' && outcome?.state !== 'swept');
  const hurt = left.filter(({ severity }) => severity === 'damage');
  const { quarantine, resumed } = parts;
  return {
    root: parts.root,
    state: real.length === 0 ? 'sound' : left.length === 0 ? 'repaired' : 'damaged',
    checked: parts.checked,
    ...(resumed === undefined ? {} : { resumed }),
    problems: all.slice(0, MAX_PROBLEMS),
    omitted: Math.max(0, all.length - MAX_PROBLEMS),
    unsettled: parts.unsettled,
    affected: [...new Set(hurt.flatMap(({ images }) => images))].toSorted(),
    next: nextSteps(left, parts.outcomes !== undefined, parts.unsettled.length > 0),
    ...(quarantine === undefined ? {} : { quarantine }),
  };
}

function rank({ severity, kind }: Problem): number {
  return ORDER.indexOf(severity) * KINDS.length + KINDS.indexOf(kind);
}

/** What content can come back from elsewhere. */
const FROM_ELSEWHERE: ReadonlySet<string> = new Set([
  'object-damaged',
  'object-missing',
  'layer-missing',
  'layer-file-missing',
  'layer-file-damaged',
  'layer-mismatch',
  'document-missing',
  'document-damaged',
  'blob-damaged',
]);

function nextSteps(left: readonly Problem[], repaired: boolean, unsettled: boolean): string[] {
  const steps: string[] = [];
  if (!repaired && left.length > 0) steps.push('layerfs fsck --repair repairs what it can.');
  if (repaired && left.some(({ kind }) => FROM_ELSEWHERE.has(kind))) {
    steps.push(
      'Get the affected images again as archives or layouts: layerfs fsck --repair --from PATH takes what is lost out of them. ' +
        'An image that is not needed any more goes with layerfs rmi.',
    );
  }
  if (repaired && left.some(({ kind }) => kind === 'unreadable')) {
    steps.push('Look at the disk (dmesg, smartctl) before trusting what else lies on it.');
  }
  if (repaired && left.some(({ kind }) => kind === 'mount-entry-damaged')) {
    steps.push('Unmount everything of this store, then repair again: what a living mount needs cannot be told.');
  }
  if (repaired && left.some(({ kind, outcome }) => kind === 'object-damaged' && outcome?.state === 'left')) {
    steps.push('Unmount what uses damaged objects, then repair again.');
  }
  if (unsettled) steps.push('Check again when no import is running: some of what was seen may be remains.');
  return steps;
}
