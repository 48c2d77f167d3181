import type {
  handleServerStreamingCall,
  handleUnaryCall,
  ServerUnaryCall,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { SnapshotInfo, Snapshotter } from '../snapshotter.js';
import { grpcError } from './codes.js';
import {
  infoMessage,
  type CommitRequest,
  type InfoMessage,
  type KeyRequest,
  type ListRequest,
  type MountsMessage,
  type PrepareRequest,
  type UpdateRequest,
} from './messages.js';

/** One answered request. */
export interface Answered {
  /** `Prepare`, `List` and so on. */
  readonly method: string;
  /** Of containerd; empty where the client named none. */
  readonly namespace: string;
  readonly key: string;
  readonly milliseconds: number;
  /** Why it failed. */
  readonly error?: Error;
}

/** Told of requests: how many are under way is what a service waits for when it stops. */
export interface RequestEvents {
  readonly began: () => void;
  readonly answered: (request: Answered) => void;
}

/** Snapshots in one message of a List; containerd's own server sends as many. */
const BATCH = 100;
/** A message is sent when it has so many bytes, about: it must stay below what containerd reads, whatever the labels. */
const BATCH_BYTES = 64 * 1024;

/** The service's methods, as gRPC calls them. */
export function handlers(snapshotter: Snapshotter, { began, answered }: RequestEvents): UntypedServiceImplementation {
  const unary =
    <Request extends object, Response>(
      method: string,
      action: (request: Request) => Promise<Response>,
    ): handleUnaryCall<Request, Response> =>
    (call, callback) => {
      began();
      const started = performance.now();
      const work = async (): Promise<void> => {
        // Not cancelled in the middle: it is done at once.
        const [response, error] = await settled(action(call.request));
        answered({ ...about(method, call, started), ...(error === undefined ? {} : { error }) });
        if (error === undefined) callback(null, response);
        else callback(grpcError(error));
      };
      void work();
    };
  const list: handleServerStreamingCall<ListRequest, { info: InfoMessage[] }> = (call) => {
    began();
    const started = performance.now();
    let batch: InfoMessage[] = [];
    let bytes = 0;
    const send = async (): Promise<void> => {
      const info = batch;
      [batch, bytes] = [[], 0];
      // A client that reads slowly holds up nobody but itself, and has no more than a message waiting for it.
      await new Promise<void>((resolve) => {
        const sent = (): void => {
          call.off('cancelled', sent);
          resolve();
        };
        call.once('cancelled', sent);
        call.write({ info }, sent);
      });
    };
    const walk = async (): Promise<void> => {
      await snapshotter.walk(async (info) => {
        if (call.cancelled) return;
        const message = infoMessage(info);
        batch.push(message);
        bytes += sizeOf(message);
        if (batch.length === BATCH || bytes >= BATCH_BYTES) await send();
      }, call.request.filters);
      if (batch.length > 0) await send();
    };
    const work = async (): Promise<void> => {
      const [, error] = await settled(walk());
      answered({ ...about('List', call, started), ...(error === undefined ? {} : { error }) });
      if (error === undefined) call.end();
      // Not destroy(): the client would wait for ever.
      else call.emit('error', Object.assign(new Error(), grpcError(error)));
    };
    void work();
  };
  return {
    Prepare: unary('Prepare', async ({ key, parent, labels }: PrepareRequest): Promise<MountsMessage> => ({
      mounts: await snapshotter.prepare(key, optional(parent), { labels }),
    })),
    View: unary('View', async ({ key, parent, labels }: PrepareRequest): Promise<MountsMessage> => ({
      mounts: await snapshotter.view(key, optional(parent), { labels }),
    })),
    Mounts: unary('Mounts', async ({ key }: KeyRequest): Promise<MountsMessage> => ({
      mounts: await snapshotter.mounts(key),
    })),
    Commit: unary('Commit', async ({ name, key, labels, parent }: CommitRequest) => {
      await snapshotter.commit(name, key, { labels, ...(parent === '' ? {} : { parent }) });
      return {};
    }),
    Remove: unary('Remove', async ({ key }: KeyRequest) => {
      await snapshotter.remove(key);
      return {};
    }),
    Stat: unary('Stat', async ({ key }: KeyRequest) => ({ info: infoMessage(await snapshotter.stat(key)) })),
    Update: unary('Update', async ({ info, update_mask: mask }: UpdateRequest) => {
      const changes: Pick<SnapshotInfo, 'name' | 'labels'> = { name: info?.name ?? '', labels: info?.labels ?? {} };
      return { info: infoMessage(await snapshotter.update(changes, mask?.paths ?? [])) };
    }),
    List: list,
    Usage: unary('Usage', async ({ key }: KeyRequest) => {
      const { bytes, inodes } = await snapshotter.usage(key);
      return { size: String(bytes), inodes: String(inodes) };
    }),
    Cleanup: unary('Cleanup', async () => {
      await snapshotter.cleanup();
      return {};
    }),
  };
}

function sizeOf({ name, parent, labels }: InfoMessage): number {
  return Object.entries(labels).reduce(
    (sum, [key, value]) => sum + key.length + value.length,
    name.length + parent.length,
  );
}

function about(
  method: string,
  call: Pick<ServerUnaryCall<object, unknown>, 'metadata' | 'request'>,
  started: number,
): Answered {
  const { key, info } = call.request as { key?: string; info?: { name?: string } };
  return {
    method,
    namespace: String(call.metadata.get('containerd-namespace')[0] ?? ''),
    key: key ?? info?.name ?? '',
    milliseconds: performance.now() - started,
  };
}

/** What came of it: a value, or an error. */
async function settled<T>(work: Promise<T>): Promise<[value: T, error: undefined] | [value: undefined, error: Error]> {
  try {
    return [await work, undefined];
  } catch (error) {
    return [undefined, error instanceof Error ? error : new Error(String(error))];
  }
}

function optional(text: string): string | undefined {
  return text === '' ? undefined : text;
}
