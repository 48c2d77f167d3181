/** The section `registries` of the configuration: a table for each registry. */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { LayerfsError, parseRegistryHost, type RegistrySettings } from 'layerfs/registry';
import type { Config } from './file.js';

const KEYS = ['mirrors', 'plain_http', 'ca', 'cert', 'key', 'skip_verify'];
const MAX_PEM = 1 << 20;

/**
 * What a file says about registries, by `host` or `host:port`. Files of certificates are read; their paths are relative to the file.
 * @throws LayerfsError invalid-argument naming file and line
 */
export function parseRegistries(config: Config): Record<string, RegistrySettings> {
  const section = config.root['registries'] ?? {};
  if (!isTable(section)) throw config.bad('registries', 'registries is no table');
  return Object.fromEntries(
    Object.entries(section).map(([host, value]) => [hostOf(host, config), settingsOf(host, value, config)]),
  );
}

function hostOf(host: string, config: Config): string {
  try {
    return parseRegistryHost(host);
  } catch (error) {
    if (!(error instanceof LayerfsError)) throw error;
    throw config.bad(host, `registries: ${error.message}`);
  }
}

function settingsOf(host: string, value: unknown, config: Config): RegistrySettings {
  const bad = (what: string): LayerfsError => config.bad(host, `registries ${JSON.stringify(host)}: ${what}`);
  if (!isTable(value)) throw bad('is no table');
  for (const key of Object.keys(value)) {
    if (!KEYS.includes(key)) throw bad(`unknown key ${JSON.stringify(key)}; there are ${KEYS.join(', ')}`);
  }
  const flag = (key: string): boolean => {
    const is = value[key] ?? false;
    if (typeof is !== 'boolean') throw bad(`${key} is true or false`);
    return is;
  };
  const texts = (key: string): string[] => {
    const list: unknown[] = [value[key] ?? []].flat();
    if (!list.every((one) => typeof one === 'string')) throw bad(`${key} is a text in quotes, or a list of them`);
    return list;
  };
  const pem = (key: string): string[] =>
    texts(key).map((name) => {
      const path = resolve(dirname(config.file), name);
      const { size } = statSync(path);
      if (size > MAX_PEM) throw bad(`${key}: ${path} has ${size} bytes: too many for what it is`);
      return readFileSync(path, 'utf8');
    });
  const [ca, [cert], [key]] = [pem('ca'), pem('cert'), pem('key')];
  const mirrors = texts('mirrors');
  for (const mirror of mirrors) {
    const url = URL.canParse(mirror) ? new URL(mirror) : undefined;
    if (url?.protocol !== 'https:' && url?.protocol !== 'http:') {
      throw bad(`mirrors are addresses that begin with https:// or http://; ${JSON.stringify(mirror)} is none`);
    }
  }
  return {
    mirrors,
    plainHttp: flag('plain_http'),
    tls: {
      ...(ca.length === 0 ? {} : { ca }),
      // One file may hold both.
      ...(cert === undefined ? {} : { cert, key: key ?? cert }),
      ...(flag('skip_verify') ? { skipVerify: true } : {}),
    },
  };
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
