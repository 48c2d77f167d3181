import { readFileSync } from 'node:fs';
import { Registry, type CredentialSource } from 'layerfs/registry';
import { defaultConfig, readConfig } from '../../config/file.js';
import { parseRegistries } from '../../config/registries.js';
import type { GlobalOptions } from '../../context.js';

/** Options of commands that speak to registries. */
export interface RegistryOptions extends GlobalOptions {
  readonly plainHttp?: boolean;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly hostsDir?: string;
  readonly config?: string;
}

/** A client as the command line wants it. @param credentials in place of those that are kept */
export function registryOf(
  { plainHttp, ca, cert, key, hostsDir, config = defaultConfig() }: RegistryOptions,
  credentials?: CredentialSource,
): Registry {
  const folder = hostsDir ?? process.env['LAYERFS_HOSTS_DIR'];
  return new Registry({
    plainHttp: plainHttp === true,
    ...(config === undefined ? {} : { settings: parseRegistries(readConfig(config)) }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(folder === undefined || folder === '' ? {} : { hostFolders: [folder] }),
    tls: {
      ...(ca === undefined ? {} : { ca: [readFileSync(ca, 'utf8')] }),
      ...(cert === undefined ? {} : { cert: readFileSync(cert, 'utf8') }),
      // One file may hold both.
      ...(cert === undefined && key === undefined ? {} : { key: readFileSync(key ?? (cert as string), 'utf8') }),
    },
  });
}
