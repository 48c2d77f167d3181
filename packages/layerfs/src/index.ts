/**
 * layerfs: a union filesystem and layer store for container images.
 *
 * `openStore()` gives a {@link Store}; what it imports can be mounted, checked out or exported.
 */
export { LayerfsError, type LayerfsErrorCode } from './core/error.js';
export { parseDigest, type ChainID, type Digest, type DiffID } from './core/digest.js';
export { formatReference, parseReference, type Reference } from './core/oci/reference.js';
export { formatPlatform, parsePlatform, type Platform } from './core/oci/platform.js';
export type { Descriptor } from './core/oci/descriptor.js';
export type { Manifest } from './core/oci/manifest.js';
export type { Tree } from './core/tree/tree.js';
export { dumpLines, dumpTree } from './core/tree/text.js';
export { printable, utf8ToLatin1 } from './core/bytes.js';
export * from './registry/index.js';
export { currentPlatform } from './store/source/host.js';
export { defaultRoot, type StorePaths } from './store/paths.js';
export { openStore, type ImageTree, type LayerTree, type Store, type StoreOptions } from './store/store.js';
export type { ImportInput } from './store/source/open.js';
export type {
  ImportedImage,
  ImportedLayer,
  ImportOptions,
  ImportProgress,
  ImportResult,
} from './store/import/progress.js';
export type { PushOptions, PushResult } from './store/output/push.js';
export type { CopyOptions, CopyResult } from './store/output/copy.js';
export type { PullOptions, PullResult } from './store/import/pull.js';
export type { HistoryEntry, Image, ImageInfo, ImageLayer } from './store/image/info.js';
export type { DropResult, RemoveOptions, RemoveResult } from './store/image/remove.js';
export type { GcOptions, GcProgress, GcResult } from './store/gc/gc.js';
export type { Tally } from './store/gc/collect.js';
export type { Disagreement } from './store/gc/counts.js';
export type { KeptThing } from './store/gc/kept.js';
export { reasonText, type Reason } from './store/gc/marks.js';
export type { Lease, LeaseOptions, Leases } from './store/gc/leases.js';
export type { DiffOptions } from './store/snapshot/diff.js';
export type { CommitOptions, CommitResult } from './store/snapshot/commit.js';
export type { RemoveSnapshotResult } from './store/snapshot/remove.js';
export type { Freeze, Snapshot } from './store/snapshot/snapshot.js';
export type { SealedLayer, SealOptions } from './store/snapshot/seal.js';
export type { Stack } from './store/snapshot/upper-tar.js';
export { chainOf } from './store/trees.js';
export type { FoundStack } from './store/image/stacks.js';
export type { Change } from './core/overlay/entry.js';
export type { ImageUsage, SnapshotUsage, Usage, UsageOptions } from './store/usage/usage.js';
export type { StoreTotals } from './store/usage/totals.js';
export { PARTS, type Part, type PartUsage, type StoreSize, type UsageProgress } from './store/usage/measure.js';
export type { PrunedImage, PruneOptions, PruneResult } from './store/gc/prune.js';
export { checkStore } from './store/fsck/fsck.js';
export {
  PROBLEM_KINDS,
  type Checked,
  type FsckOptions,
  type FsckProgress,
  type FsckReport,
  type Outcome,
  type Problem,
  type ProblemKind,
  type Severity,
} from './store/fsck/problem.js';
export type { CheckoutOptions, CheckoutProgress, CheckoutResult } from './store/output/checkout.js';
export { REBUILT_FROM, type ExportOptions, type ExportProgress, type ExportResult } from './store/output/export.js';
export * from './mount/index.js';
export { modeText } from './mount/explain/explanation.js';
