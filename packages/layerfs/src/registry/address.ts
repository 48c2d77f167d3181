import { LayerfsError } from '../core/error.js';
import type { Digest } from '../core/digest.js';
import { formatReference, parseReference } from '../core/oci/reference.js';

/** The registry that names without a host mean, where it really answers, and what its one-word names stand for. */
const HUB = { name: 'docker.io', server: 'registry-1.docker.io', official: 'library' } as const;

/** Something in a registry. */
export interface RegistryReference {
  /** `host` or `host:port`, as people name it. */
  readonly host: string;
  /** The path in it. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/**
 * Parses a reference by Docker's rules; without tag and digest it means `latest`.
 * @throws LayerfsError invalid-argument saying which part is wrong
 */
export function parseRegistryReference(text: string): RegistryReference {
  const { name, tag, digest } = parseReference(text);
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isHost = /[.:[]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  const host = isHost ? first : HUB.name;
  const path = isHost ? name.slice(slash + 1) : name;
  if (path === '') throw new LayerfsError('invalid-argument', `${text} names no repository`);
  return {
    host,
    repository: host === HUB.name && !path.includes('/') ? `${HUB.official}/${path}` : path,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** As images are named in a store: what {@link parseRegistryReference} would take. */
export function formatRegistryReference({ host, repository, tag, digest }: RegistryReference): string {
  const official = `${HUB.official}/`;
  const path =
    host !== HUB.name
      ? `${host}/${repository}`
      : repository.startsWith(official)
        ? repository.slice(official.length)
        : repository;
  return formatReference({
    name: path,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  });
}

/** Checks a registry's `host` or `host:port`. @throws LayerfsError invalid-argument */
export function parseRegistryHost(text: string): string {
  const host = text.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  if (host === HUB.name || host === 'index.docker.io' || host === HUB.server) return HUB.name;
  // What may stand before a repository.
  const { host: found } = parseRegistryReference(`${host}/x`);
  if (found !== host)
    throw new LayerfsError('invalid-argument', `${JSON.stringify(text.slice(0, 160))} is no registry`);
  return host;
}

/** Where a registry answers. */
export function serverOf(host: string): string {
  return host === HUB.name ? HUB.server : host;
}

/** Names under which credentials for a registry may be kept. */
export function credentialKeys(host: string): string[] {
  return host === HUB.name || host === HUB.server
    ? ['https://index.docker.io/v1/', HUB.name, 'index.docker.io', HUB.server]
    : [host, `https://${host}`, `https://${host}/`, `https://${host}/v1/`, `https://${host}/v2/`, `http://${host}`];
}

/** Whether a host, with or without a port, is this machine itself. */
export function isLoopback(host: string): boolean {
  const name = host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || name === '::1' || /^127(?:\.\d{1,3}){3}$/.test(name);
}
