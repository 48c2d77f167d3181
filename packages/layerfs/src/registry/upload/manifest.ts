import type { Digest } from '../../core/digest.js';
import type { Ask } from '../connection.js';
import { Fault } from '../fault.js';
import type { HttpAnswer } from '../http/transport.js';

/** Gives a registry a manifest or index; tries once. @param target a tag or digest */
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
  await answer.discard();
  const told = answer.headers['docker-content-digest'];
  if (typeof told === 'string' && told.startsWith('sha256:') && told !== digest) {
    throw new Fault('corrupt', `${what}: the registry took it as ${told.slice(0, 80)}`);
  }
}
