/** The folders that every store has, and what lies in them that is neither object, layer, chain nor blob. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { isErrno } from '../errors.js';
import { DOWNLOAD } from '../import/download.js';
import { UPLOAD } from '../output/kept-upload.js';
import { FORMAT_VERSION } from '../format/version.js';
import { checkFile, OPEN_FILE, PRIVATE_FOLDER } from './file-claims.js';
import type { Records } from './metadata.js';
import type { Finding } from './problem.js';
import type { CheckState } from './state.js';

const FOLDERS = [
  'objects',
  'blobs',
  'blobs/sha256',
  'layers',
  'chains',
  'snapshots',
  'meta',
  'ingest',
  'mounts',
  'trash',
  'lock',
] as const;
/** What else may lie in the store's folder. */
const OTHERS: ReadonlySet<string> = new Set(['version', 'fsck', 'quarantine', 'snapshotter']);
/** Where others may look, but not write. */
const SHOWN_FOLDER = { type: 'folder', must: 0o700, may: 0o755 } as const;
const HEX = /^[0-9a-f]{64}$/;

/** The version, the folders, and what does not belong there. */
export function comparePlaces({ paths, uid }: Pick<CheckState, 'paths' | 'uid'>): Finding[] {
  const { root } = paths;
  const findings: Finding[] = [];
  const version = versionProblem(join(root, 'version'));
  if (version !== undefined)
    findings.push({ kind: 'version-wrong', path: 'version', expected: `${FORMAT_VERSION}`, found: version });
  for (const folder of FOLDERS) {
    // Entries of mounts were once made by a server, with the mode of an ordinary folder.
    const claim = folder === 'mounts' || folder === 'blobs' ? SHOWN_FOLDER : PRIVATE_FOLDER;
    const known = findings.length;
    if (checkFile(root, folder, { ...claim, uid }, findings) === undefined && findings.length === known) {
      findings.push({ kind: 'folder-missing', path: folder, expected: 'a folder', found: 'nothing' });
    }
  }
  for (const file of ['version', 'lock/store', 'lock/gate', 'lock/collector'])
    checkFile(root, file, { ...OPEN_FILE, uid }, findings);
  for (const name of readdirSync(root)) {
    if (!OTHERS.has(name) && !(FOLDERS as readonly string[]).includes(name)) findings.push(foreign(name));
  }
  for (const name of namesIn(join(root, 'blobs'))) if (name !== 'sha256') findings.push(foreign(`blobs/${name}`));
  for (const name of namesIn(join(root, 'lock'))) {
    if (!['store', 'gate', 'collector'].includes(name)) findings.push(foreign(`lock/${name}`));
  }
  for (const name of namesIn(paths.trash)) {
    if (!/^(?:objects-\d+|layer-[0-9a-f]{64}|snapshot-[0-9a-f]+)$/.test(name)) findings.push(foreign(`trash/${name}`));
  }
  for (const name of namesIn(join(root, 'meta'))) {
    if (!['records', 'records-wal', 'records-shm', 'reserve'].includes(name)) findings.push(foreign(`meta/${name}`));
    else checkFile(root, `meta/${name}`, { type: 'file', must: 0o600, may: 0o664, uid }, findings);
  }
  return findings;
}

function versionProblem(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8');
    return text.trim() === String(FORMAT_VERSION) ? undefined : JSON.stringify(text.slice(0, 40));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 'nothing';
    if (isErrno(error, 'EISDIR', 'EACCES', 'EIO', 'ELOOP')) return (error as Error).message;
    throw error;
  }
}

/** Sessions and locks of importers that are gone. With importers at work this may be just under way. */
export function compareIngest({ paths }: Pick<CheckState, 'paths'>): Finding[] {
  const findings: Finding[] = [];
  for (const name of namesIn(paths.ingest)) {
    const path = `ingest/${name}`;
    const isSession = name.startsWith('session-');
    const isLock = name.startsWith('layer-') && HEX.test(name.slice(6));
    if (name.startsWith('meta-')) {
      findings.push({ kind: 'leftover', path, expected: 'a process that makes it', found: 'perhaps none' });
    } else if (DOWNLOAD.test(name) || UPLOAD.test(name)) {
      // To be gone on with.
      continue;
    } else if (!isSession && !isLock) findings.push(foreign(path));
    else if (isFree(join(paths.ingest, name, isSession ? 'lock' : ''))) {
      findings.push({ kind: 'leftover', path, expected: 'a process that holds it', found: 'no such process' });
    }
  }
  return findings;
}

function isFree(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path.replace(/\/$/, ''), 'r');
  } catch (error) {
    // Gone since it was listed, or a session without its lock yet.
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return existsSync(path.replace(/\/lock$/, ''));
    throw error;
  }
  try {
    return tryFlock(fd, LOCK.EX);
  } finally {
    closeSync(fd);
  }
}

/** Records of snapshots against their folders. */
export function compareSnapshots(
  { paths, uid }: CheckState,
  { snapshots }: Records,
  listed: readonly string[],
): Finding[] {
  const findings: Finding[] = [];
  const known = new Map([...snapshots].map(([name, { id }]) => [id, name]));
  for (const [id, name] of known) {
    for (const path of [`snapshots/${id}`, `snapshots/${id}/upper`, `snapshots/${id}/work`]) {
      const before = findings.length;
      // Upper has the mode and owner of the image's root.
      const claim = path.endsWith('/upper')
        ? ({ type: 'folder', must: 0, may: 0o7777, uid: undefined } as const)
        : { ...PRIVATE_FOLDER, uid };
      const stats = checkFile(paths.root, path, claim, findings);
      if (stats !== undefined || findings.length > before) continue;
      findings.push({ kind: 'snapshot-missing', path, expected: `the folder of snapshot ${name}`, found: 'nothing' });
      break;
    }
  }
  for (const id of listed) {
    if (known.has(id)) continue;
    const path = `snapshots/${id}`;
    if (/^[0-9a-f]{1,64}$/.test(id))
      findings.push({ kind: 'snapshot-orphan', path, expected: 'a record of it', found: 'none' });
    else findings.push(foreign(path));
  }
  return findings;
}

/** A file of a name that nothing in a store has. */
export function foreign(path: string): Finding {
  return { kind: 'foreign-file', path, expected: 'nothing of this name', found: 'something' };
}

/** The names in a folder; none when it is missing or none. */
export function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}
