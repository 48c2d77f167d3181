import { closeSync, fstatSync, openSync } from 'node:fs';
import {
  Connection,
  Loop,
  MountError,
  mountKernel,
  mountWithHelper,
  type ConnectionHooks,
  type MountOptions,
} from '@layerfs/fuse';
import { POLL, PollSet, mapFile } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import { Tree } from '../../core/tree/tree.js';
import { Verifier } from '../filesystem/verifier.js';
import { TreeFileSystem } from '../filesystem/tree-filesystem.js';
import { RegistryEntry, processStart, type MountInfo } from '../registry/registry.js';
import { detach } from '../registry/detach.js';
import { EventLog } from './event-log.js';
import { answerInit } from './init.js';
import type { ProblemListener } from '../filesystem/objects.js';
import { chooseContent, openObjects, stackDepth, type OpenedObjects } from './passthrough.js';
import { openUnion, type Root } from './union-root.js';
import type { ServePlan } from './plan.js';
import type { RequestProfile } from './profile.js';
import { TraceFile } from './trace.js';

/** A mount that answers, to be driven by its {@link Loop}. */
export interface Serving {
  readonly info: MountInfo;
  readonly loop: Loop;
  /** Writes out what waits; for when nothing is to be done. */
  flush(): void;
  /** Goes on with what waited for another thread. @returns whether that is why the loop was woken */
  resume(): boolean;
  /** Sleeps until there is a request or a wake descriptor is readable. */
  sleep(): void;
}

/** After so long without a request, in milliseconds, a server tidies up and goes to sleep. */
export const IDLE_MILLIS = 500;

/**
 * Mounts a tree and makes everything ready to serve it in this thread: when this returns, the kernel has got its
 * first answer. The registry entry and the lock on it last until the loop sees the unmount.
 * @param wake descriptors that make the loop return
 * @param turns whether Node's event loop of this thread gets its turns in between
 * @throws LayerfsError with a sentence for the user; nothing is left mounted then
 */
export async function startServing(plan: ServePlan, wake: readonly number[], turns: boolean): Promise<Serving> {
  const entry = new RegistryEntry(plan.root, plan.info.id);
  let mounted = false;
  try {
    const starting = describe(plan, 'kernel', { passthrough: false, reason: 'Starting.' });
    // Before anything is mounted: from here on garbage collection leaves the layers alone.
    entry.publish(starting);
    const tree = openTree(plan.tree);
    const log = new EventLog(plan.root, plan.info.id);
    const objects = openObjects(plan.objects, plan.noPassthrough);
    const options = mountOptions(plan);
    const report: ProblemListener = ({ object, problem }) =>
      log.write(`object ${object} ${problem}; reading files with this content gives EIO`);
    const verifier = plan.info.options.verify === undefined ? undefined : new Verifier(plan.objects);
    const wakes = verifier === undefined ? wake : [...wake, verifier.wake];
    const root =
      plan.writable === undefined
        ? readOnlyRoot(plan, tree, objects, options.defaultPermissions === true, report, verifier)
        : openUnion(tree, objects, plan.writable, turns, report, verifier);
    const { fd, transport } = await mountSomehow(options);
    mounted = true;
    const trace = plan.info.options.trace === undefined ? undefined : new TraceFile(plan.info.options.trace, tree);
    const profile = await openProfile(plan.info.options.profile);
    const onRequest = hookOf(trace?.record, profile?.record);
    const connection = new Connection(fd, root.fs, {
      onError: (error, opcode) => log.write(`${opcode}: ${error instanceof Error ? error.message : String(error)}`),
      ...(onRequest === undefined ? {} : { onRequest }),
    });
    answerInit(connection);
    const content = root.serve(connection);
    const info = describe(plan, transport, content);
    entry.publish(info);
    const loop = new Loop({
      wake: wakes,
      ...(plan.spins === undefined ? {} : { spins: plan.spins }),
      onEnd: () => {
        trace?.close();
        profile?.close();
        entry.remove();
        log.close();
        verifier?.close();
      },
    });
    loop.add(connection);
    const poll = new PollSet();
    for (const descriptor of [fd, ...wakes]) poll.add(descriptor, POLL.IN);
    return {
      info,
      loop,
      flush: () => trace?.flush(),
      resume: () => verifier?.resume() ?? false,
      sleep: () => void poll.wait(-1),
    };
  } catch (error) {
    if (mounted) await detach(plan.info.mountpoint, { lazy: true });
    entry.remove();
    throw asLayerfsError(error, plan);
  }
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

function describe(
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

function mountOptions(plan: ServePlan): MountOptions {
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

async function mountSomehow(options: MountOptions): Promise<{ fd: number; transport: MountInfo['transport'] }> {
  // Root without CAP_SYS_ADMIN (in a container) is helped no better by the set-uid program.
  if (process.geteuid?.() === 0) return { fd: mountKernel(options), transport: 'kernel' };
  return { fd: await mountWithHelper(options), transport: 'fusermount3' };
}

const MOUNT_CODES = {
  'no-device': 'unavailable',
  'not-permitted': 'permission-denied',
  'no-helper': 'unavailable',
  'no-mountpoint': 'not-found',
  'not-a-folder': 'invalid-argument',
  stale: 'failed-precondition',
  'helper-failed': 'permission-denied',
} as const;

function asLayerfsError(error: unknown, plan: ServePlan): LayerfsError {
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
