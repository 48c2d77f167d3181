/** Repairs of the frame: the version, folders, modes, owners, and things of the wrong type. */
import { chmodSync, lchownSync, lstatSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../../errors.js';
import { FORMAT_VERSION } from '../../format/version.js';
import type { Finding } from '../problem.js';
import type { RepairWork } from './work.js';

/** Repairs what it can of these; what is moved away is missing from then on. */
export function repairStructure(work: RepairWork, findings: readonly Finding[]): void {
  for (const finding of findings) {
    const { kind, path } = finding;
    const file = join(work.state.paths.root, path);
    if (kind === 'version-wrong') writeVersion(file, work);
    else if (kind === 'folder-missing') {
      mkdirSync(file, { recursive: true, mode: 0o700 });
      work.done(path, 'made anew, empty');
    } else if (kind === 'wrong-mode')
      permitted(work, path, 'has the mode that it should have', () => setMode(file, path));
    else if (kind === 'wrong-owner') {
      permitted(work, path, "belongs to the store's owner", () => lchownSync(file, work.state.uid, -1 >>> 0));
    } else if (kind === 'wrong-type') {
      work.quarantine.move(path);
      work.quarantined(path);
      if (/^(?:objects|blobs|blobs\/sha256|layers|chains|snapshots|ingest|mounts|trash)$/.test(path))
        mkdirSync(file, { mode: 0o700 });
    } else if (kind === 'snapshot-missing' && path.endsWith('/work')) {
      mkdirSync(file, { mode: 0o700 });
      work.done(path, 'made anew: only unfinished work was in it');
    }
  }
}

function writeVersion(file: string, work: RepairWork): void {
  if (lstatSync(file, { throwIfNoEntry: false }) !== undefined) work.quarantine.keep('version');
  writeFileSync(`${file}.new`, `${FORMAT_VERSION}\n`, { mode: 0o644 });
  renameSync(`${file}.new`, file);
  work.done('version', 'written anew');
}

function setMode(file: string, path: string): void {
  const stats = lstatSync(file);
  if (stats.isSymbolicLink()) return;
  const mode = stats.mode & 0o7777;
  if (stats.isDirectory()) chmodSync(file, 0o700);
  else if (path.startsWith('objects/')) chmodSync(file, 0o444);
  else if (/^(?:version|lock\/|meta\/)/.test(path)) chmodSync(file, (mode & 0o644) | 0o600);
  else chmodSync(file, 0o400);
}

function permitted(work: RepairWork, path: string, detail: string, action: () => void): void {
  try {
    action();
    work.done(path, detail);
  } catch (error) {
    if (!isErrno(error, 'EPERM', 'EACCES', 'EROFS')) throw error;
    work.failed(path, `this needs root (${(error as NodeJS.ErrnoException).code})`);
  }
}
