import { LayerfsError } from 'layerfs';
import { parseIdRanges, type IdRange } from 'layerfs/folders';
import type { Labels } from '../snapshotter.js';

/** Whoever sets these wants the snapshot's files to belong to a container's user namespace: `CONTAINER:HOST:COUNT`, more after commas. */
const UIDS = 'containerd.io/snapshot/uidmapping';
const GIDS = 'containerd.io/snapshot/gidmapping';

/** Both labels, as they came. Kept with the snapshot. */
export interface IdMaps {
  readonly uids: string;
  readonly gids: string;
}

/** Ids of the host that ids of a container stand for. */
export interface IdRanges {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** The kernel's limit on a map of a user namespace. */
const MAX_RANGES = 340;

/** What a snapshot's labels say of its owners. @throws LayerfsError invalid-argument naming the label */
export function idMapsOf(labels: Labels): IdMaps | undefined {
  const [uids, gids] = [UIDS, GIDS].map((label) => (Object.hasOwn(labels, label) ? labels[label] : undefined));
  if (uids === undefined && gids === undefined) return undefined;
  for (const [have, want, value] of [
    [UIDS, GIDS, gids],
    [GIDS, UIDS, uids],
  ]) {
    if (value === undefined) throw new LayerfsError('invalid-argument', `The label ${have} needs ${want} beside it`);
  }
  const maps = { uids: uids ?? '', gids: gids ?? '' };
  rangesOf(maps);
  return maps;
}

/** @throws LayerfsError invalid-argument naming the label */
export function rangesOf({ uids, gids }: IdMaps): IdRanges {
  return { uids: ranges(UIDS, uids), gids: ranges(GIDS, gids) };
}

function ranges(label: string, value: string): readonly IdRange[] {
  const wrong = (why: string): LayerfsError =>
    new LayerfsError('invalid-argument', `The label ${label} ${why}: ${JSON.stringify(value.slice(0, 200))}`);
  if (!/^\d+:\d+:\d+(,\d+:\d+:\d+)*$/.test(value)) throw wrong('is no list of CONTAINER:HOST:COUNT');
  const parsed = parseIdRanges(value.replaceAll(',', ':'));
  if ('problem' in parsed) throw wrong(parsed.problem);
  if (parsed.length === 0) throw wrong('maps nothing');
  if (parsed.length > MAX_RANGES) throw wrong(`has more than ${MAX_RANGES} ranges`);
  return parsed;
}

/** Owner of what belongs to a container's root, on the host. */
export function hostRoot(maps: IdMaps): { readonly uid: number; readonly gid: number } {
  const { uids, gids } = rangesOf(maps);
  return { uid: hostId(UIDS, uids), gid: hostId(GIDS, gids) };
}

function hostId(label: string, ids: readonly IdRange[]): number {
  const range = ids.find(({ inside }) => inside === 0);
  if (range === undefined) throw new LayerfsError('invalid-argument', `The label ${label} does not map the id 0`);
  return range.outside;
}
