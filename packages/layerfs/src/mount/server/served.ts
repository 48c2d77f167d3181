import { closeSync, fstatSync, openSync } from 'node:fs';
import { MountError, type ConnectionHooks, type MountOptions } from '@layerfs/fuse';
import { mapFile } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import { Tree } from '../../core/tree/tree.js';
import type { ProblemListener } from '../filesystem/objects.js';
import { Verifier } from '../filesystem/verifier.js';
import { TreeFileSystem } from '../filesystem/tree-filesystem.js';
import { processStart, type MountInfo, type RegistryEntry } from '../registry/registry.js';
import { EventLog } from './event-log.js';
import { chooseContent, openObjects, stackDepth, type OpenedObjects } from './passthrough.js';
import type { ServePlan } from './plan.js';
import type { RequestProfile } from './profile.js';
import { TraceFile } from './trace.js';
import { openUnion, type Root } from './union-root.js';

/** What is served, and where what is said of it goes; the same for every transport. */
export interface Served {
  readonly root: Root;
  readonly hooks: ConnectionHooks;
  readonly log: EventLog;
  readonly verifier: Verifier | undefined;
  readonly trace: TraceFile | undefined;
  readonly profile: RequestProfile | undefined;
}

/**
 * Opens all that a mount is served from, and enters it into the registry: before anything is mounted, so that from here
 * on garbage collection leaves the layers alone.
 * @param turns whether Node's event loop of this thread gets its turns in between
 */
export async function prepare(plan: ServePlan, entry: RegistryEntry, turns: boolean): Promise<Served> {
  entry.publish(describe(plan, 'kernel', { passthrough: false, reason: 'Starting.' }));
  const tree = openTree(plan.tree);
  const log = new EventLog(plan.root, plan.info.id);
  const objects = openObjects(plan.objects, plan.noPassthrough);
  const options = mountOptions(plan);
  const report: ProblemListener = ({ object, problem }) =>
    log.write(`object ${object} ${problem}; reading files with this content gives EIO`);
  const verifier = plan.info.options.verify === undefined ? undefined : new Verifier(plan.objects);
  const root =
    plan.writable === undefined
      ? readOnlyRoot(plan, tree, objects, options.defaultPermissions === true, report, verifier)
      : openUnion(tree, objects, plan.writable, turns, report, verifier);
  const trace = plan.info.options.trace === undefined ? undefined : new TraceFile(plan.info.options.trace, tree);
  const profile = await openProfile(plan.info.options.profile);
  const onRequest = hookOf(trace?.record, profile?.record);
  const hooks: ConnectionHooks = {
    onError: (error, opcode) => log.write(`${opcode}: ${error instanceof Error ? error.message : String(error)}`),
    ...(onRequest === undefined ? {} : { onRequest }),
  };
  return { root, hooks, log, verifier, trace, profile };
}

/** Its module is loaded only when it is wanted. */
async function openProfile(file: string | undefined): Promise<RequestProfile | undefined> {
  if (file === undefined) return undefined;
  const module = await import('./profile.js');
  return new module.RequestProfile(file);
}

type RequestHook = ConnectionHooks['onRequest'];

function hookOf(one: RequestHook, other: RequestHook): RequestHook {
  if (one === undefined || other === undefined) return one ?? other;
  return (request) => {
    one(request);
    other(request);
  };
}

/** The registry entry of a mount. */
export function describe(
  plan: ServePlan,
  transport: MountInfo['transport'],
  { passthrough, reason }: { passthrough: boolean; reason: string },
): MountInfo {
  return {
    ...plan.info,
    pid: process.pid,
    pidStart: processStart(process.pid),
    since: new Date().toISOString(),
    passthrough,
    passthroughReason: reason,
    transport,
  };
}

function readOnlyRoot(
  plan: ServePlan,
  tree: Tree,
  objects: OpenedObjects,
  defaultPermissions: boolean,
  report: ProblemListener,
  verifier: Verifier | undefined,
): Root {
  const fs = new TreeFileSystem(tree, {
    passthrough: objects.readOnly,
    defaultPermissions,
    maxStackDepth: stackDepth(plan.objects),
  });
  return {
    fs,
    serve(connection) {
      const content = chooseContent(connection, objects, tree, report, verifier);
      fs.serveFrom(content);
      return content;
    },
  };
}

function openTree(path: string): Tree {
  const fd = openSync(path, 'r');
  try {
    return Tree.open(mapFile(fd, fstatSync(fd).size).buffer);
  } finally {
    closeSync(fd);
  }
}

/** How a plan is mounted. */
export function mountOptions(plan: ServePlan): MountOptions {
  const { allowOther, allowDevices, allowSetuid } = plan.info.options;
  return {
    mountpoint: plan.info.mountpoint,
    fsname: plan.info.ref,
    subtype: 'layerfs',
    readOnly: plan.writable === undefined,
    allowOther,
    // Alone on it, the user who mounts may read all of an image that is theirs anyway, whatever owners it names.
    defaultPermissions: allowOther || plan.writable !== undefined,
    noDevices: !allowDevices,
    noSetuid: !allowSetuid,
  };
}

const MOUNT_CODES = {
  'no-device': 'unavailable',
  'not-permitted': 'permission-denied',
  'no-helper': 'unavailable',
  'no-binding': 'unavailable',
  'no-mountpoint': 'not-found',
  'not-a-folder': 'invalid-argument',
  stale: 'failed-precondition',
  'helper-failed': 'permission-denied',
} as const;

/** What went wrong with a mount, in words for its user. */
export function asLayerfsError(error: unknown, plan: ServePlan): LayerfsError {
  if (error instanceof LayerfsError) return error;
  if (error instanceof MountError) {
    return new LayerfsError(MOUNT_CODES[error.code], sentence(error.message), { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new LayerfsError('internal', `Cannot mount ${plan.info.ref} on ${plan.info.mountpoint}: ${message}`, {
    cause: error,
  });
}

function sentence(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
