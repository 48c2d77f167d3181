export { parseFilters, type Filter } from './filter.js';
export { openSnapshotter, type MountMode, type SnapshotterOptions } from './open.js';
export type { SealWhen } from './seal/sealer.js';
export type { ListenOn, SocketDescriptor, SocketPath } from './grpc/listen.js';
export { offerLayers, type OfferOptions } from './offer/offer.js';
export { serve, type Answered, type ServeOptions, type Service } from './grpc/server.js';
export { Metrics, type MetricsSource } from './metrics/metrics.js';
export { serveMetrics, type MetricsService } from './metrics/server.js';
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
