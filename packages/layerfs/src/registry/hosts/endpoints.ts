/** Where a registry's content can be had: mirrors first, then the registry itself. */
import { isLoopback, serverOf } from '../address.js';
import type { TlsSettings } from '../http/transport.js';
import { readHostFolder } from './host-folder.js';

/** What an endpoint may be asked for: `resolve` is the manifest of a tag. */
export type Capability = 'pull' | 'resolve' | 'push';

/** One place to ask. */
export interface Endpoint {
  /** Without a slash at the end; ends in `/v2` as a rule. */
  readonly base: URL;
  readonly capabilities: ReadonlySet<Capability>;
  readonly tls: TlsSettings;
  /** Sent with each request, to this host only. */
  readonly headers: Readonly<Record<string, string>>;
  /** Nobody has said whether it speaks TLS: it is tried with first. */
  readonly guess: boolean;
  /** Stands for another registry. */
  readonly mirror: boolean;
}

/** What users say about registries. */
export interface HostOptions {
  /** Folders with a folder for each registry, as containerd's and Docker's `certs.d`; the first that has it counts. */
  readonly folders: readonly string[];
  /** Hosts that are asked in the clear; true for all. */
  readonly plainHttp: readonly string[] | boolean;
  readonly tls: TlsSettings;
}

/** The system's folders of settings for registries. */
export const HOST_FOLDERS = ['/etc/containerd/certs.d', '/etc/docker/certs.d'];

const ALL: ReadonlySet<Capability> = new Set(['pull', 'resolve', 'push']);

/** The endpoints of a registry, in the order in which they are asked. @throws LayerfsError for settings that are wrong */
export function endpointsOf(host: string, options: HostOptions): Endpoint[] {
  const server = serverOf(host);
  const plain = options.plainHttp === true || (Array.isArray(options.plainHttp) && options.plainHttp.includes(host));
  const own: Endpoint = {
    base: new URL(`${plain ? 'http' : 'https'}://${server}/v2`),
    capabilities: ALL,
    tls: options.tls,
    headers: {},
    guess: !plain && isLoopback(server),
    mirror: false,
  };
  const settings = readHostFolder(host, options.folders);
  if (settings === undefined) return [own];
  const merged = settings.server === undefined ? { ...own, tls: { ...own.tls, ...settings.tls } } : settings.server;
  return [...settings.mirrors, merged];
}
