export type {
  CommitOptions,
  Kind,
  Labels,
  Mount,
  PrepareOptions,
  SnapshotInfo,
  Snapshotter,
  Usage,
} from './snapshotter.js';
