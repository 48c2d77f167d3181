/** Layers and objects: files against records, and reference counts against the object lists. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { digestHex, type DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { isErrno } from '../errors.js';
import { trashedLayer } from '../gc/trash.js';
import { ObjectTable } from '../gc/object-table.js';
import { ObjectList } from '../object-list.js';
import { LAYER_FILES } from './check-layer.js';
import { foreign, namesIn } from './compare-places.js';
import { recordPath, type Records } from './metadata.js';
import type { Finding } from './problem.js';
import type { CheckState } from './state.js';

/** What the object lists say. */
export interface Lists {
  readonly byLayer: ReadonlyMap<DiffID, ObjectList>;
  readonly table: ObjectTable;
  /** Layers that are needed or recorded, and whose list cannot be read: nobody knows what they hold. */
  readonly unreadable: readonly DiffID[];
}

const HEX = /^[0-9a-f]{64}$/;

/**
 * Folders of layers against records.
 * @param listed names of folders, read before the records
 * @param needed layers of images, snapshots and living mounts
 */
export function compareLayers(
  state: CheckState,
  records: Records,
  listed: readonly string[],
  needed: ReadonlySet<DiffID>,
  findings: Finding[],
): Lists {
  const { paths } = state;
  const byLayer = new Map<DiffID, ObjectList>();
  const table = new ObjectTable();
  const unreadable: DiffID[] = [];
  const wanted = new Set<DiffID>([...records.layers.keys(), ...needed]);
  for (const name of listed) {
    if (!HEX.test(name)) findings.push(foreign(`layers/${name}`));
    else if (!wanted.has(`sha256:${name}` as DiffID)) {
      findings.push({ kind: 'layer-orphan', path: `layers/${name}`, expected: 'a record of it', found: 'none' });
    }
  }
  for (const diffID of wanted) {
    const folder = `layers/${digestHex(diffID)}`;
    if (!existsSync(join(paths.root, folder))) {
      findings.push({ kind: 'layer-missing', path: folder, expected: 'the files of a layer', found: 'nothing' });
      unreadable.push(diffID);
      continue;
    }
    for (const file of LAYER_FILES) {
      const path = `${folder}/${file}`;
      if (!existsSync(join(paths.root, path)))
        findings.push({ kind: 'layer-file-missing', path, expected: 'a file', found: 'nothing' });
    }
    const list = readList(state, diffID, findings);
    if (list === undefined) unreadable.push(diffID);
    else {
      byLayer.set(diffID, list);
      table.addList(list);
    }
    compareLayerRecord(state, records, diffID, list, findings);
  }
  for (const [diffID, { next }] of records.removals) {
    // What is being removed is counted down piece by piece.
    const list = readTrashedList(state, diffID);
    if (list === undefined) unreadable.push(diffID);
    else table.addList(list, next);
  }
  return { byLayer, table, unreadable };
}

function readList({ paths, xxhash }: CheckState, diffID: DiffID, findings: Finding[]): ObjectList | undefined {
  try {
    return ObjectList.read(join(paths.layer(diffID), 'objects'), xxhash);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) return undefined;
    if (!(error instanceof LayerfsError) && !isErrno(error, 'EIO', 'EACCES', 'EUCLEAN')) throw error;
    const path = `layers/${digestHex(diffID)}/objects`;
    findings.push({
      kind: 'layer-file-damaged',
      path,
      expected: 'a sound object list',
      found: (error as Error).message,
    });
    return undefined;
  }
}

/** The list of a layer that is being removed; an empty one when all of it is done. */
function readTrashedList({ paths, xxhash }: CheckState, diffID: DiffID): ObjectList | undefined {
  const path = join(trashedLayer(paths, diffID), 'objects');
  try {
    return existsSync(path) ? ObjectList.read(path, xxhash) : ObjectList.from(new Uint8Array(), []);
  } catch (error) {
    if (error instanceof LayerfsError) return undefined;
    throw error;
  }
}

function compareLayerRecord(
  { facts }: CheckState,
  records: Records,
  diffID: DiffID,
  list: ObjectList | undefined,
  findings: Finding[],
): void {
  const record = records.layers.get(diffID);
  const path = recordPath('layers', diffID);
  const fact = facts.layers.get(diffID);
  if (record === undefined) {
    // One that is no JSON is told as that, with the same path.
    if (!records.findings.some((finding) => finding.path === path))
      findings.push({
        kind: 'layer-record-missing',
        path,
        expected: JSON.stringify(fact ?? 'a record'),
        found: 'none',
      });
  } else if (fact !== undefined) {
    const { size, contentSize, entries, objects } = fact;
    const expected = JSON.stringify({ size, contentSize, entries, objects });
    const found = JSON.stringify(record);
    if (found !== expected) findings.push({ kind: 'layer-record-wrong', path, expected, found });
  } else if (list !== undefined && list.count !== record.objects) {
    const expected = `${list.count} objects`;
    findings.push({ kind: 'layer-record-wrong', path, expected, found: `${record.objects} objects` });
  }
}

/** Which objects there are: names of all files that may be objects, read before the records. */
export function listObjects({ paths }: Pick<CheckState, 'paths'>, findings: Finding[]): Buffer[] {
  const parts: Buffer[] = [];
  for (const prefix of namesIn(paths.objects)) {
    if (!/^[0-9a-f]{2}$/.test(prefix)) {
      findings.push(foreign(`objects/${prefix}`));
      continue;
    }
    const names = namesIn(join(paths.objects, prefix)).filter((name) => /^[0-9a-f]{62}$/.test(name));
    parts.push(Buffer.from(names.map((name) => prefix + name).join(''), 'hex'));
  }
  return parts;
}

/** Objects that layers list against those that are there. */
export function compareObjects(
  { paths }: CheckState,
  { table, unreadable }: Lists,
  listed: readonly Buffer[],
  findings: Finding[],
): void {
  const present = new Uint8Array(table.count);
  for (const part of listed) {
    for (let at = 0; at < part.length; at += 32) {
      const key = part.subarray(at, at + 32);
      const place = table.find(key);
      if (place >= 0) present[place] = 1;
      // A layer whose list cannot be read may hold it.
      else if (unreadable.length === 0)
        findings.push({
          kind: 'object-orphan',
          path: objectPath(key),
          expected: 'a layer that holds it',
          found: 'none',
        });
    }
  }
  for (let at = 0; at < table.count; at++) {
    // Objects of a layer that is being removed may be gone.
    if (present[at] === 1 || table.countAt(at) === 0) continue;
    const path = objectPath(table.keyAt(at));
    // It may have come since the folder was listed.
    if (!existsSync(join(paths.root, path)))
      findings.push({ kind: 'object-missing', path, expected: `${table.sizeAt(at)} bytes`, found: 'nothing' });
  }
}

/** Reference counts against a count made anew. */
export function compareCounts({ metadata }: CheckState, { table, unreadable }: Lists, findings: Finding[]): void {
  if (metadata === undefined) return;
  const seen = new Uint8Array(table.count);
  const wrong = (hex: string, expected: string, found: string): void => {
    findings.push({ kind: 'count-wrong', path: recordPath('objects', hex), expected, found });
  };
  metadata.counts((key, count, size) => {
    if (count < 0) return wrong(key.toString('hex'), 'a key of 32 and a value of 12 bytes', 'others');
    const at = table.find(key);
    if (at >= 0) seen[at] = 1;
    const listed = at < 0 ? 0 : table.countAt(at);
    // A layer whose list cannot be read may hold any.
    if (count > listed && unreadable.length > 0) return;
    const expected = `${listed} layers`;
    if (listed !== count) wrong(key.toString('hex'), expected, `${count} layers`);
    else if (at >= 0 && size !== table.sizeAt(at))
      wrong(key.toString('hex'), `${table.sizeAt(at)} bytes`, `${size} bytes`);
  });
  for (let at = 0; at < table.count; at++) {
    if (seen[at] === 0) wrong(table.keyAt(at).toString('hex'), `${table.countAt(at)} layers`, 'none');
  }
}

/** Where an object lies, by the 32 bytes of its sha256. */
export function objectPath(key: Buffer): string {
  const hex = key.toString('hex');
  return `objects/${hex.slice(0, 2)}/${hex.slice(2)}`;
}
