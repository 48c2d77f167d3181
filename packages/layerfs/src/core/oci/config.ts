/** Image configs (OCI image spec, config.md; Docker's are the same): the platform, the diffIDs and the history. */
import type { DiffID, Digest } from '../digest.js';
import { namedDigest } from './descriptor.js';
import { parseDocument, type Fields } from './json.js';
import { MAX_LAYERS } from './manifest.js';
import { platformOf, type Platform } from './platform.js';

/** Most history entries; they include steps that made no layer. */
const MAX_HISTORY = 10_000;

/** A step of the build that made the image. */
export interface History {
  readonly created?: string;
  readonly createdBy?: string;
  readonly author?: string;
  readonly comment?: string;
  /** The step changed the config only. */
  readonly emptyLayer: boolean;
}

/** What layerfs needs of a config. `raw` is everything, as parsed. */
export interface ImageConfig {
  readonly platform?: Platform;
  readonly created?: string;
  /** Lowest layer first. */
  readonly diffIDs: readonly DiffID[];
  readonly history: readonly History[];
  readonly raw: Readonly<Record<string, unknown>>;
}

/** Parses a config; `bytes` stay what its digest covers. @throws LayerfsError invalid-argument naming the field */
export function parseConfig(bytes: Uint8Array, digest: Digest): ImageConfig {
  const fields = parseDocument(bytes, `config ${digest}`);
  const platform = platformOf(fields);
  const created = fields.string('created', 64);
  return {
    ...(platform === undefined ? {} : { platform }),
    ...(created === undefined || created === '' ? {} : { created }),
    diffIDs: diffIDsOf(fields),
    history: (fields.objects('history', MAX_HISTORY) ?? []).map((entry) => historyOf(entry)),
    raw: fields.value,
  };
}

/**
 * The history entry of each layer, lowest first. Undefined where the history does not tell: builders are free to leave it out.
 */
export function layerHistory(config: ImageConfig): (History | undefined)[] {
  const steps = config.history.filter((step) => !step.emptyLayer);
  return config.diffIDs.map((_, index) => (steps.length === config.diffIDs.length ? steps[index] : undefined));
}

function diffIDsOf(fields: Fields): DiffID[] {
  const rootfs = fields.object('rootfs');
  if (rootfs === undefined) throw fields.invalid('rootfs', 'missing');
  const type = rootfs.string('type', 64);
  if (type !== undefined && type !== 'layers') throw rootfs.invalid('type', `not "layers"`);
  const list = rootfs.stringList('diff_ids', MAX_LAYERS);
  if (list === undefined) throw rootfs.invalid('diff_ids', 'missing');
  return list.map((text, index) => namedDigest(text, rootfs.name(`diff_ids[${index}]`)) as DiffID);
}

function historyOf(entry: Fields): History {
  const text = (key: string, field: string): Record<string, string> => {
    // Shell lines with here-documents are long.
    const value = entry.string(field, 1 << 20);
    return value === undefined || value === '' ? {} : { [key]: value };
  };
  return {
    ...text('created', 'created'),
    ...text('createdBy', 'created_by'),
    ...text('author', 'author'),
    ...text('comment', 'comment'),
    emptyLayer: entry.boolean('empty_layer') ?? false,
  };
}
