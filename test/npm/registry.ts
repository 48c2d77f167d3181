/** An npm registry on loopback, of packages in memory. */
import { createServer, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { NpmPackage } from './packages.js';

export interface Registry {
  url: string;
  close: () => Promise<void>;
}

function packument(name: string, packages: NpmPackage[], url: string): object {
  const versions = packages.map(({ manifest, integrity }) => [
    manifest.version,
    { ...manifest, dist: { integrity, tarball: `${url}${name}/-/${manifest.version}.tgz` } },
  ]);
  return { name, 'dist-tags': { latest: packages.at(-1)!.manifest.version }, versions: Object.fromEntries(versions) };
}

export async function startRegistry(packages: NpmPackage[]): Promise<Registry> {
  const byName = new Map<string, NpmPackage[]>();
  for (const one of packages) byName.set(one.manifest.name, [...(byName.get(one.manifest.name) ?? []), one]);
  let url = '';
  const answer = (path: string, response: ServerResponse): void => {
    const [name, file] = path.slice(1).split('/-/');
    const found = byName.get(name) ?? [];
    const tarball = found.find(({ manifest }) => `${manifest.version}.tgz` === file)?.tarball;
    if (tarball !== undefined) response.setHeader('content-type', 'application/octet-stream').end(tarball);
    else if (file === undefined && found.length > 0)
      response.setHeader('content-type', 'application/json').end(JSON.stringify(packument(name, found, url)));
    else response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}');
  };
  const server = createServer((request, response) => answer(decodeURIComponent(request.url ?? '/'), response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    url,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
