import { status } from '@grpc/grpc-js';
import type { StoreTotals } from 'layerfs';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics, type GaugeConfiguration } from 'prom-client';
import { grpcError } from '../grpc/codes.js';
import type { Answered } from '../grpc/handlers.js';
import type { Kind, Snapshotter } from '../snapshotter.js';
import { readMounts } from './mounts.js';

/** What the numbers are about. */
export interface MetricsSource {
  readonly snapshotter: Snapshotter;
  /** The snapshotter's folder. */
  readonly root: string;
  /** Numbers of the store, where there is one. */
  readonly totals?: () => StoreTotals;
  /** The program's version. */
  readonly version: string;
}

const KINDS: readonly Kind[] = ['active', 'view', 'committed'];
/** Seconds: a snapshot is made in about a millisecond; a large folder's usage takes seconds. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** The numbers of a service, in Prometheus's text format. What is not counted along is read when it is asked for. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'method' | 'code'>;
  readonly #seconds: Histogram<'method'>;
  #reading: Promise<string> | undefined;

  constructor({ snapshotter, root, totals, version }: MetricsSource) {
    const registers = [this.#registry];
    const gauge = (configuration: GaugeConfiguration<string>): Gauge => new Gauge({ ...configuration, registers });
    collectDefaultMetrics({ register: this.#registry });
    gauge({
      name: 'layerfs_build_info',
      help: 'Always 1; the version is a label.',
      labelNames: ['version'],
    }).set({ version }, 1);
    this.#requests = new Counter({
      name: 'layerfs_snapshotter_requests_total',
      help: 'Answered requests by method and gRPC code.',
      labelNames: ['method', 'code'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'layerfs_snapshotter_request_duration_seconds',
      help: 'How long answers took, by method.',
      labelNames: ['method'],
      buckets: BUCKETS,
      registers,
    });
    gauge({
      name: 'layerfs_snapshotter_snapshots',
      help: 'Snapshots by kind.',
      labelNames: ['kind'],
      async collect() {
        const counts = new Map<Kind, number>(KINDS.map((kind) => [kind, 0]));
        await snapshotter.walk(({ kind }) => void counts.set(kind, (counts.get(kind) ?? 0) + 1));
        for (const [kind, count] of counts) this.set({ kind }, count);
      },
    });
    gauge({
      name: 'layerfs_snapshotter_mounts',
      help: 'Mounts below the snapshotter and overlays whose upper lies in it, by type, as the service sees them.',
      labelNames: ['type'],
      async collect() {
        this.reset();
        const counts = await readMounts(root);
        for (const type of new Set(['overlay', ...counts.keys()])) this.set({ type }, counts.get(type) ?? 0);
      },
    });
    if (totals === undefined) return;
    const ofStore = (name: string, help: string, value: (totals: StoreTotals) => number): void => {
      gauge({
        name: `layerfs_store_${name}`,
        help,
        collect() {
          this.set(value(totals()));
        },
      });
    };
    ofStore('objects', 'Objects in the store.', ({ objects }) => objects.count);
    ofStore('object_bytes', 'Content of all objects.', ({ objects }) => objects.bytes);
    ofStore('layers', 'Layers in the store.', ({ layers }) => layers.count);
    ofStore('layer_bytes', 'Files of all layers, each layer by itself.', ({ layers }) => layers.logicalBytes);
    ofStore('dedup_saved_bytes', 'What equal files would take if each were stored.', (all) => all.savedByDedup);
  }

  /** Counts a request. */
  count({ method, milliseconds, error }: Answered): void {
    this.#requests.inc({ method, code: status[error === undefined ? status.OK : grpcError(error).code] });
    this.#seconds.observe({ method }, milliseconds / 1000);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All numbers as text. Who asks while they are being read gets the same. */
  read(): Promise<string> {
    this.#reading ??= this.#registry.metrics().finally(() => (this.#reading = undefined));
    return this.#reading;
  }
}
