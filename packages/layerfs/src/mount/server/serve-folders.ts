import { mkdtempSync, mkdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection, Loop, MountError, mountKernel, mountWithHelper } from '@layerfs/fuse';
import { ErrnoError, POLL, PollSet } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import { IdMap } from '../../core/overlay/id-map.js';
import { STACKED_FILESYSTEMS } from '../doctor/store-root.js';
import { FoldersLower } from '../union/folders/lower.js';
import { UnionFileSystem } from '../union/union-filesystem.js';
import { Upper } from '../union/upper.js';
import { answerInit } from './init.js';
import type { FoldersPlan } from './plan-folders.js';
import { whyNotUpper } from './union-root.js';

/** A served union of folders. */
export interface ServingFolders {
  readonly loop: Loop;
  readonly passthrough: boolean;
  readonly reason: string;
  /** Sleeps until there is a request or a wake descriptor is readable. */
  sleep(): void;
}

/**
 * Mounts a union of plain folders and makes everything ready to serve it in this thread.
 * @param wake descriptors that make the loop return
 * @throws LayerfsError naming the folder that cannot be used; nothing is left mounted then
 */
export async function startFolders(plan: FoldersPlan, wake: readonly number[]): Promise<ServingFolders> {
  const owners = ownersOf(plan);
  const scratch = plan.upper === undefined ? scratchUpper() : undefined;
  const { dir, work } = plan.upper ?? { dir: join(scratch ?? '', 'upper'), work: join(scratch ?? '', 'work') };
  const done = (): void => {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  };
  try {
    const lower = usable('lowerdir', () => new FoldersLower({ folders: plan.lowers, upper: dir, ...showing(owners) }));
    const privileged = process.geteuid?.() === 0;
    const upper = usable('upperdir or workdir', () => new Upper(dir, work, owners));
    const fs = new UnionFileSystem(lower, upper, {
      passthrough: plan.passthrough && privileged,
      maxStackDepth: STACKED_FILESYSTEMS.has(statfsSync(dir).type) ? 2 : 1,
      readOnly: plan.readOnly,
      volatile: plan.volatile,
      turns: true,
      xattrs: plan.xattrs,
      acl: plan.acl,
      ...(plan.lifetime === undefined ? {} : { lifetime: plan.lifetime }),
    });
    const fd = await mountFolders(plan, privileged);
    const connection = new Connection(fd, fs);
    answerInit(connection);
    const reason = plan.passthrough ? whyNotUpper(connection, dir) : 'Switched off by option.';
    const ids = {
      open: (file: number): number => connection.openBacking(file),
      close: (id: number): void => connection.closeBacking(id),
    };
    fs.serveWith(reason === undefined ? ids : undefined, (nodeid) => connection.invalidateInode(nodeid, -1, 0));
    const loop = new Loop({ wake, onEnd: done });
    loop.add(connection);
    const poll = new PollSet();
    for (const descriptor of [fd, ...wake]) poll.add(descriptor, POLL.IN);
    return { loop, passthrough: reason === undefined, reason: reason ?? '', sleep: () => void poll.wait(-1) };
  } catch (error) {
    done();
    if (error instanceof MountError) throw new LayerfsError('unavailable', error.message, { cause: error });
    throw error;
  }
}

function ownersOf(plan: FoldersPlan): { uid: IdMap; gid: IdMap } | undefined {
  const { uidRanges, gidRanges, squashUid, squashGid } = plan;
  if ([uidRanges, gidRanges, squashUid, squashGid].every((each) => each === undefined)) return undefined;
  return { uid: new IdMap(uidRanges, squashUid), gid: new IdMap(gidRanges, squashGid) };
}

function showing(owners: { uid: IdMap; gid: IdMap } | undefined): object {
  if (owners === undefined) return {};
  return { showUid: (id: number) => owners.uid.shown(id), showGid: (id: number) => owners.gid.shown(id) };
}

/** Without an upper folder there is an empty one that nothing is ever written to: the mount is read-only. */
function scratchUpper(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fuse-layerfs-'));
  for (const name of ['upper', 'work']) mkdirSync(join(folder, name));
  return folder;
}

function usable<T>(what: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    const why =
      error.code === 'EBUSY'
        ? 'in use by another mount'
        : error.code === 'EXDEV'
          ? 'on different filesystems'
          : error.message;
    throw new LayerfsError('invalid-argument', `cannot use ${what}: ${why}`, { cause: error });
  }
}

function mountFolders(plan: FoldersPlan, privileged: boolean): Promise<number> | number {
  const options = {
    mountpoint: plan.mountpoint,
    fsname: plan.fsname,
    subtype: plan.subtype,
    readOnly: plan.readOnly,
    allowOther: plan.allowOther,
    defaultPermissions: true,
    noSetuid: !plan.suid,
    noDevices: !plan.dev,
    noExec: !plan.exec,
    noAtime: !plan.atime,
  };
  return privileged ? mountKernel(options) : mountWithHelper(options);
}
