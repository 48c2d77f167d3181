/** A registry's settings in a folder: containerd's hosts.toml (docs/hosts.md there), or certificates alone, as Docker has them. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { LayerfsError } from '../../core/error.js';
import { isMissing } from '../files.js';
import type { TlsSettings } from '../http/transport.js';
import type { Capability, Endpoint } from './endpoints.js';

/** What a folder says about a registry. */
export interface HostSettings {
  /** In the order of the file. */
  readonly mirrors: readonly Endpoint[];
  /** Undefined where it only adds to what is so anyway. */
  readonly server?: Endpoint;
  readonly tls: TlsSettings;
}

const MOST = 1 << 20;

/** Reads the first folder that has something for a host. @throws LayerfsError naming the file */
export function readHostFolder(host: string, folders: readonly string[]): HostSettings | undefined {
  // A colon has a meaning in some places: containerd takes `host_port_` too.
  const names = [host, host.replace(/:(\d+)$/, '_$1_'), '_default'];
  for (const folder of folders) {
    for (const name of new Set(names)) {
      const path = join(folder, name);
      if (!isFolder(path)) continue;
      const toml = readMaybe(join(path, 'hosts.toml'));
      if (toml !== undefined) return parseHosts(toml, path);
      if (name !== '_default') return { mirrors: [], tls: certificatesIn(path) };
    }
  }
  return undefined;
}

function parseHosts(text: string, folder: string): HostSettings {
  const path = join(folder, 'hosts.toml');
  let root: Record<string, unknown>;
  try {
    root = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new LayerfsError('invalid-argument', `${path} is not TOML: line ${error.line}, column ${error.column}`);
  }
  const { server } = root;
  const hosts = table(root['host'] ?? {}, `${path}: host`);
  const mirrors = Object.entries(hosts).map(([address, value]) =>
    endpointOf(address, table(value, `${path}: host ${address}`), folder, true),
  );
  if (server === undefined) return { mirrors, tls: tlsOf(root, folder) };
  if (typeof server !== 'string') throw wrong(path, 'server');
  return { mirrors, tls: {}, server: endpointOf(server, root, folder, false) };
}

function endpointOf(address: string, fields: Record<string, unknown>, folder: string, mirror: boolean): Endpoint {
  const path = join(folder, 'hosts.toml');
  const text = address.includes('://') ? address : `https://${address}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) throw wrong(path, `host ${address}`);
  const given = url.pathname.replace(/\/+$/, '');
  const overridden = fields['override_path'] === true || given === '/v2' || given.startsWith('/v2/');
  url.pathname = overridden ? given : `${given}/v2`;
  const capabilities = (fields['capabilities'] ?? ['pull', 'resolve', 'push']) as unknown;
  if (!Array.isArray(capabilities) || !capabilities.every((one) => ['pull', 'resolve', 'push'].includes(one as string)))
    throw wrong(path, 'capabilities');
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(table(fields['header'] ?? {}, `${path}: header`))) {
    const one: unknown = Array.isArray(value) ? value.join(', ') : value;
    if (typeof one !== 'string') throw wrong(path, `header ${name}`);
    headers[name.toLowerCase()] = one;
  }
  return {
    base: url,
    capabilities: new Set(capabilities as Capability[]),
    tls: tlsOf(fields, folder),
    headers,
    guess: false,
    mirror,
  };
}

function tlsOf(fields: Record<string, unknown>, folder: string): TlsSettings {
  const path = join(folder, 'hosts.toml');
  const files = (value: unknown, field: string): string[] => {
    const list = (Array.isArray(value) ? value : [value]) as unknown[];
    if (!list.every((one) => typeof one === 'string')) throw wrong(path, field);
    return list.map((name) => readFile(isAbsolute(name) ? name : join(folder, name)));
  };
  const { ca, client, skip_verify: skip } = fields;
  const pair = Array.isArray(client) && Array.isArray(client[0]) ? (client[0] as unknown) : client;
  // One file may hold both.
  const pems = pair === undefined ? [] : files(pair, 'client');
  return {
    ...(ca === undefined ? {} : { ca: files(ca, 'ca') }),
    ...(pems.length === 0 ? {} : { cert: pems[0], key: pems[1] ?? pems[0] }),
    ...(skip === true ? { skipVerify: true } : {}),
  };
}

/** `*.crt` are authorities, `NAME.cert` and `NAME.key` prove who we are. */
function certificatesIn(folder: string): TlsSettings {
  const names = readdirSync(folder).toSorted();
  const ca = names.filter((name) => name.endsWith('.crt')).map((name) => readFile(join(folder, name)));
  const cert = names.find((name) => name.endsWith('.cert'));
  return {
    ...(ca.length === 0 ? {} : { ca }),
    ...(cert === undefined
      ? {}
      : { cert: readFile(join(folder, cert)), key: readFile(join(folder, cert.replace(/cert$/, 'key'))) }),
  };
}

function table(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new LayerfsError('invalid-argument', `${what} is no table`);
}

function wrong(path: string, field: string): LayerfsError {
  return new LayerfsError('invalid-argument', `${path}: ${field} is not as it should be`);
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'EACCES') return false;
    throw error;
  }
}

function readMaybe(path: string): string | undefined {
  try {
    return readFile(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function readFile(path: string): string {
  const { size } = statSync(path);
  if (size > MOST) throw new LayerfsError('invalid-argument', `${path} has ${size} bytes: too many for what it is`);
  return readFileSync(path, 'utf8');
}
