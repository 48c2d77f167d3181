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

/** What a user says about one registry. */
export interface RegistrySettings {
  /** Addresses (`https://host[:port][/path]`, or http) that are asked before it for what is pulled. */
  readonly mirrors?: readonly string[];
  /** It is asked in the clear. */
  readonly plainHttp?: boolean;
  readonly tls?: TlsSettings;
}

/** What users say about registries. */
export interface HostOptions {
  /** Folders with a folder for each registry, as containerd's and Docker's `certs.d`; the first that has it counts. */
  readonly folders: readonly string[];
  /** Hosts that are asked in the clear; true for all. */
  readonly plainHttp: readonly string[] | boolean;
  readonly tls: TlsSettings;
  /** By `host` or `host:port`; for one that is here the folders do not count. */
  readonly settings: Readonly<Record<string, RegistrySettings>>;
}

/** The system's folders of settings for registries. */
export const HOST_FOLDERS = ['/etc/containerd/certs.d', '/etc/docker/certs.d'];

const ALL: ReadonlySet<Capability> = new Set(['pull', 'resolve', 'push']);
const PULL: ReadonlySet<Capability> = new Set(['pull', 'resolve']);

/** The endpoints of a registry, in the order in which they are asked. @throws LayerfsError for settings that are wrong */
export function endpointsOf(host: string, options: HostOptions): Endpoint[] {
  const server = serverOf(host);
  const told = Object.hasOwn(options.settings, host) ? options.settings[host] : undefined;
  const plain =
    told?.plainHttp === true ||
    options.plainHttp === true ||
    (Array.isArray(options.plainHttp) && options.plainHttp.includes(host));
  const own: Endpoint = {
    base: new URL(`${plain ? 'http' : 'https'}://${server}/v2`),
    capabilities: ALL,
    tls: merged(told?.tls ?? {}, options.tls),
    headers: {},
    guess: !plain && isLoopback(server),
    mirror: false,
  };
  if (told !== undefined) return [...(told.mirrors ?? []).map((url) => mirrorAt(url, options)), own];
  const settings = readHostFolder(host, options.folders);
  if (settings === undefined) return [own];
  const last = settings.server ?? { ...own, tls: merged(own.tls, settings.tls) };
  return [...settings.mirrors, last];
}

/** It has settings of its own, too. */
function mirrorAt(address: string, { settings }: HostOptions): Endpoint {
  const url = new URL(address);
  const tls = Object.hasOwn(settings, url.host) ? settings[url.host].tls : undefined;
  const path = url.pathname.replace(/\/+$/, '');
  return {
    base: new URL(`${url.origin}${path}/v2`),
    capabilities: PULL,
    tls: tls ?? {},
    headers: {},
    guess: false,
    mirror: true,
  };
}

function merged(one: TlsSettings, other: TlsSettings): TlsSettings {
  const ca = [...(one.ca ?? []), ...(other.ca ?? [])];
  return { ...one, ...other, ...(ca.length === 0 ? {} : { ca }) };
}
