/** Removes what nothing needs: the remains of what ended early. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../../errors.js';
import { discardObjects } from '../../gc/trash.js';
import { removeFolder } from '../../snapshot/remove-folder.js';
import { objectIn } from '../affected.js';
import { mountpointIn } from '../mounts.js';
import { PROBLEM_KINDS, type Finding } from '../problem.js';
import type { RepairWork } from './work.js';

/**
 * Removes litter.
 * @param keep why nothing but sessions and locks may be removed; undefined when everything may
 */
export function sweep(work: RepairWork, findings: readonly Finding[], keep: string | undefined): void {
  const { paths, metadata } = work.state;
  const { root } = paths;
  const objects: string[] = [];
  for (const { kind, path } of findings) {
    if (PROBLEM_KINDS[kind] !== 'litter') continue;
    const file = join(root, path);
    if (keep !== undefined && kind !== 'leftover' && kind !== 'stale-mount') work.failed(path, keep);
    else if (kind === 'object-orphan') {
      objects.push(objectIn(path) ?? '');
      work.done(path, 'removed');
    } else if (kind === 'stale-mount') sweepMount(work, path);
    else if (kind === 'snapshot-orphan' && hasChanges(file)) {
      // It has no record, but somebody's work is in it.
      work.quarantine.move(path);
      work.done(path, 'moved to quarantine: there are changes in it');
    } else {
      if (kind === 'snapshot-orphan') removeFolder(file);
      else rmSync(file, { recursive: true, force: true });
      work.done(path, 'removed');
    }
  }
  if (objects.length === 0 || metadata === undefined) return;
  // Work under way may have found one of them here and left it to that: it gets them back.
  discardObjects(
    paths,
    objects,
    metadata.write((writer) => writer.countDeletion()),
  );
}

function hasChanges(folder: string): boolean {
  try {
    return readdirSync(join(folder, 'upper')).length > 0;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    // One that cannot be looked into is not for us to judge.
    if (isErrno(error, 'EACCES', 'ENOTDIR', 'EIO')) return true;
    throw error;
  }
}

/** While its mount point is still covered, the entry is how `layerfs unmount` finds it. */
function sweepMount(work: RepairWork, path: string): void {
  const file = join(work.state.paths.root, path);
  const mountpoint = mountpointIn(readText(file));
  if (mountpoint !== undefined && isCovered(mountpoint)) {
    return work.failed(path, `its dead mount is still there: layerfs unmount ${mountpoint}`);
  }
  rmSync(file, { force: true });
  work.done(path, 'removed');
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EACCES', 'ELOOP', 'EISDIR')) return '';
    throw error;
  }
}

function isCovered(mountpoint: string): boolean {
  const escaped = mountpoint.replaceAll(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`);
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[4] === escaped && line.includes(' - fuse.layerfs '));
}
