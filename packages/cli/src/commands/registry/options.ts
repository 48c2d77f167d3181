import { readFileSync } from 'node:fs';
import { Registry } from 'layerfs';
import type { GlobalOptions } from '../../context.js';

/** Options of commands that speak to registries. */
export interface RegistryOptions extends GlobalOptions {
  readonly plainHttp?: boolean;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly hostsDir?: string;
}

/** A client as the command line wants it. */
export function registryOf({ plainHttp, ca, cert, key, hostsDir }: RegistryOptions): Registry {
  const folder = hostsDir ?? process.env['LAYERFS_HOSTS_DIR'];
  return new Registry({
    plainHttp: plainHttp === true,
    ...(folder === undefined || folder === '' ? {} : { hostFolders: [folder] }),
    tls: {
      ...(ca === undefined ? {} : { ca: [readFileSync(ca, 'utf8')] }),
      ...(cert === undefined ? {} : { cert: readFileSync(cert, 'utf8') }),
      // One file may hold both.
      ...(cert === undefined && key === undefined ? {} : { key: readFileSync(key ?? (cert as string), 'utf8') }),
    },
  });
}
