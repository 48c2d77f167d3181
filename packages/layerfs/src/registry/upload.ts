/** Giving a registry what it lacks (distribution-spec 1.1, "Push"). */
import type { Digest } from '../core/digest.js';
import { LayerfsError } from '../core/error.js';
import type { Ask } from './connection.js';
import { Fault } from './fault.js';
import type { HttpAnswer } from './http/transport.js';

/** How a blob got to be in a repository. */
export type Uploaded = 'exists' | 'mounted' | 'uploaded';

/** A blob to be given. `size` in bytes. */
export interface Upload {
  readonly repository: string;
  readonly digest: Digest;
  readonly size: number;
  /** Its bytes; called again when it is tried again. */
  readonly content: () => AsyncIterable<Uint8Array>;
  /** A repository of the same registry that has it. */
  readonly from: string | undefined;
}

/** Tries once. */
export async function uploadBlob(
  ask: (ask: Ask) => Promise<HttpAnswer>,
  { repository, digest, size, content, from }: Upload,
): Promise<Uploaded> {
  const what = `blob ${digest}`;
  const there = await ask({
    what,
    path: `/${repository}/blobs/${digest}`,
    method: 'HEAD',
    need: 'push',
    expect: [200, 307, 404],
  });
  there.discard();
  if (there.status !== 404) return 'exists';
  const mount = from === undefined ? '' : `?mount=${digest}&from=${encodeURIComponent(from)}`;
  const begun = await ask({
    what,
    path: `/${repository}/blobs/uploads/${mount}`,
    method: 'POST',
    headers: { 'content-length': '0' },
    need: 'push',
    expect: [201, 202],
    ...(from === undefined ? {} : { alsoFrom: from }),
  });
  begun.discard();
  if (begun.status === 201) return 'mounted';
  const { location } = begun.headers;
  if (location === undefined || !URL.canParse(location, begun.url.href)) {
    throw new LayerfsError('invalid-argument', `${what}: the registry does not say where to send it`);
  }
  const target = new URL(location, begun.url);
  if (begun.url.protocol === 'https:' && target.protocol !== 'https:') {
    throw new LayerfsError('permission-denied', `${what}: the registry wants it to be sent without TLS`);
  }
  target.searchParams.set('digest', digest);
  const done = await ask({
    what,
    path: target.href,
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(size) },
    body: content,
    need: 'push',
    expect: [201],
  });
  done.discard();
  return 'uploaded';
}

/** Tries once. @param target a tag or digest */
export async function putManifest(
  ask: (ask: Ask) => Promise<HttpAnswer>,
  repository: string,
  target: string,
  { bytes, digest, mediaType }: { readonly bytes: Uint8Array; readonly digest: Digest; readonly mediaType: string },
): Promise<void> {
  const what = `manifest ${target} of ${repository}`;
  const answer = await ask({
    what,
    path: `/${repository}/manifests/${target}`,
    method: 'PUT',
    headers: { 'content-type': mediaType, 'content-length': String(bytes.length) },
    body: async function* () {
      yield await Promise.resolve(bytes);
    },
    need: 'push',
    expect: [201],
  });
  answer.discard();
  const told = answer.headers['docker-content-digest'];
  if (typeof told === 'string' && told.startsWith('sha256:') && told !== digest) {
    throw new Fault('corrupt', `${what}: the registry took it as ${told.slice(0, 80)}`);
  }
}
