import { createServer, type Server } from 'node:http';
import { isIP, type AddressInfo } from 'node:net';
import { LayerfsError } from 'layerfs';
import type { Metrics } from './metrics.js';

/** Where numbers are served. */
export interface MetricsService {
  /** `HOST:PORT`, with the port that was taken for 0. */
  readonly address: string;
  stop(): Promise<void>;
}

/** More than any number of Prometheus servers needs. */
const MAX_CONNECTIONS = 64;

/**
 * Serves numbers over HTTP at `/metrics`.
 * @param address `PORT` or `:PORT`, on the loopback interface; or `HOST:PORT`, with an IPv6 address in brackets
 * @throws LayerfsError invalid-argument for an address that is none, unavailable when nothing can listen there
 */
export async function serveMetrics(metrics: Metrics, address: string): Promise<MetricsService> {
  const { host, port } = parseAddress(address);
  const server = createServer((request, response) => {
    if (request.url?.split('?')[0] !== '/metrics') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('only /metrics is here\n');
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return;
    }
    metrics.read().then(
      (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
      (error: unknown) => response.writeHead(500, { 'content-type': 'text/plain' }).end(`${String(error)}\n`),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, host, port, address);
  const { address: at, port: taken, family } = server.address() as AddressInfo;
  return {
    address: `${family === 'IPv6' ? `[${at}]` : at}:${taken}`,
    stop: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** @throws LayerfsError invalid-argument */
export function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:(\[[^\]]*\]|[^:[\]]*):)?(\d{1,5})$/.exec(address);
  const [host = '', digits] = [match?.[1], match?.[2]];
  const port = Number(digits);
  const bare = host.startsWith('[') ? host.slice(1, -1) : host;
  if (digits === undefined || port > 65_535 || (host.startsWith('[') && isIP(bare) !== 6)) {
    throw new LayerfsError(
      'invalid-argument',
      `${JSON.stringify(address)} is no address such as 127.0.0.1:9100 or :9100`,
    );
  }
  return { host: bare === '' ? '127.0.0.1' : bare, port };
}

function listen(server: Server, host: string, port: number, address: string): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      fail(new LayerfsError('unavailable', `Cannot serve metrics on ${address}: ${error.message}`, { cause: error }));
    });
    server.listen({ host, port }, () => done());
  });
}
