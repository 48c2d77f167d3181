/** Registries on loopback: Debian's docker-registry with a storage of its own, certificates, tokens, and a proxy that fails. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createSign } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Registry } from 'layerfs';
import type { SmallImage } from '../../packages/layerfs/dist/store/small-images.test-support.js';
import { scratchFolder } from './scratch.js';

const run = promisify(execFile);

/** The user of a registry with a password. */
export const USER = {
  name: 'someone',
  password: 'secret-word',
  hash: '$2b$05$WXVhgYi4Od2IQATPudqSseUtSchbfCBwFZrpSOT4WMNA5cgq7Q8aS',
};

/** A self-signed certificate for this machine. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** @param name also names a certificate of one more host */
export async function makeCertificate(folder: string, name = 'localhost'): Promise<Certificate> {
  const [cert, key] = [join(folder, `${name}-cert.pem`), join(folder, `${name}-key.pem`)];
  const made = 'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=NAME';
  const names = `subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:${name}`;
  await run('openssl', [...made.replace('NAME', name).split(' '), '-addext', names, '-keyout', key, '-out', cert]);
  return { cert, key };
}

/** What a registry asks of its users. */
export interface RegistryKind {
  readonly tls?: Certificate;
  /** With `tls`: who asks must have a certificate of this authority, a file. */
  readonly clients?: string;
  readonly password?: boolean;
  /** Address of a token server whose tokens are signed with this certificate. */
  readonly tokens?: { readonly realm: string; readonly cert: string };
}

/** A registry that runs until `stop`. */
export class TestRegistry {
  readonly folder: string;
  /** `localhost:PORT`. */
  readonly host: string;
  readonly #child: ChildProcess;

  private constructor(folder: string, host: string, child: ChildProcess) {
    this.folder = folder;
    this.host = host;
    this.#child = child;
  }

  static async start(kind: RegistryKind = {}): Promise<TestRegistry> {
    const folder = scratchFolder('layerfs-registry-', true);
    const port = await freePort();
    mkdirSync(join(folder, 'data'));
    writeFileSync(join(folder, 'htpasswd'), `${USER.name}:${USER.hash}\n`);
    const auth = {
      ...(kind.password === true ? { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } } : {}),
      ...(kind.tokens === undefined
        ? {}
        : {
            token: {
              realm: kind.tokens.realm,
              service: 'test-service',
              issuer: 'test-issuer',
              rootcertbundle: kind.tokens.cert,
            },
          }),
    };
    // JSON is YAML.
    const config = {
      version: '0.1',
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
      http: {
        addr: `127.0.0.1:${port}`,
        ...(kind.tls === undefined
          ? {}
          : {
              tls: {
                certificate: kind.tls.cert,
                key: kind.tls.key,
                ...(kind.clients === undefined ? {} : { clientcas: [kind.clients] }),
              },
            }),
      },
      ...(Object.keys(auth).length === 0 ? {} : { auth }),
    };
    writeFileSync(join(folder, 'config.yml'), JSON.stringify(config));
    const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    while (!(await answers(port))) {
      if (child.exitCode !== null) throw new Error(`docker-registry ended: ${said}`);
      await sleep(20);
    }
    return new TestRegistry(folder, `localhost:${port}`, child);
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Puts an image into a registry without TLS, with nothing of what is tested. */
export async function putImage(host: string, repository: string, tag: string, image: SmallImage): Promise<void> {
  const put = async (url: string, body: Uint8Array, type: string): Promise<void> => {
    const answer = await fetch(url, { method: 'PUT', body: Buffer.from(body), headers: { 'content-type': type } });
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  };
  for (const [digest, bytes] of image.blobs) {
    if (digest === image.manifest.digest) continue;
    const begun = await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    const url = new URL(begun.headers.get('location') ?? '', `http://${host}`);
    url.searchParams.set('digest', digest);
    await put(url.href, bytes, 'application/octet-stream');
  }
  const manifest = image.blobs.get(image.manifest.digest) ?? Buffer.alloc(0);
  await put(`http://${host}/v2/${repository}/manifests/${tag}`, manifest, image.manifest.mediaType);
}

/** What gets tokens without a password. */
export const IDENTITY_TOKEN = 'identity-word';

/**
 * Gives tokens that docker-registry takes, to whoever has the password or {@link IDENTITY_TOKEN}, or wants only to read `public/`. A wrong
 * password is refused.
 */
export async function serveTokens(
  certificate: Certificate,
): Promise<{ realm: string; server: Server; given: string[] }> {
  const given: string[] = [];
  const chain = readFileSync(certificate.cert, 'utf8').replace(/-----[^-]+-----|\s/g, '');
  const key = readFileSync(certificate.key, 'utf8');
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const giveToken = (
    url: URL,
    form: URLSearchParams | undefined,
    authorization: string | undefined,
  ): string | undefined => {
    const scopes = form === undefined ? url.searchParams.getAll('scope') : (form.get('scope') ?? '').split(' ');
    const basic = `Basic ${Buffer.from(`${USER.name}:${USER.password}`).toString('base64')}`;
    const known = authorization === basic || form?.get('refresh_token') === IDENTITY_TOKEN;
    if ((form !== undefined || authorization !== undefined) && !known) return undefined;
    const access = scopes
      .filter((scope) => scope !== '')
      .map((scope) => {
        const [, type, name, actions] = /^(\w+):(.+):([\w,]+)$/.exec(scope) ?? [];
        const allowed = known ? actions.split(',') : name.startsWith('public/') ? ['pull'] : [];
        return { type, name, actions: allowed };
      });
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: 'test-issuer',
      aud: (form ?? url.searchParams).get('service'),
      sub: known ? USER.name : '',
      nbf: now - 10,
      iat: now,
      exp: now + 300,
      jti: String(given.length),
      access,
    };
    const text = `${part({ typ: 'JWT', alg: 'RS256', x5c: [chain] })}.${part(claims)}`;
    given.push(scopes.join(' '));
    return `${text}.${createSign('sha256').update(text).sign(key, 'base64url')}`;
  };
  const answerTo = async (incoming: IncomingMessage, answer: ServerResponse): Promise<void> => {
    let body = '';
    for await (const piece of incoming.setEncoding('utf8') as AsyncIterable<string>) body += piece;
    const form = incoming.method === 'POST' ? new URLSearchParams(body) : undefined;
    const url = new URL(incoming.url ?? '', 'http://token');
    const token = giveToken(url, form, incoming.headers.authorization);
    if (token === undefined) answer.writeHead(401).end('{"errors":[{"code":"UNAUTHORIZED"}]}');
    else
      answer.end(
        JSON.stringify(form === undefined ? { token, expires_in: 300 } : { access_token: token, expires_in: 300 }),
      );
  };
  const server = createServer((incoming, answer) => void answerTo(incoming, answer)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`, server, given };
}

/** What a proxy does with a blob's answer: changes it, or gives one itself. */
export type Meddling = (at: {
  readonly request: IncomingMessage;
  readonly answer: ServerResponse;
  /** The registry's answer; unread. */
  readonly upstream: IncomingMessage;
  /** How often this blob was asked for before. */
  readonly before: number;
}) => boolean | undefined;

/** Stands before a registry; counts the bytes of blobs that it gives. */
export class FaultProxy {
  readonly host: string;
  /** Returns whether it has answered. */
  meddle: Meddling = () => false;
  /**
   * Told of each request. Where it returns true the request's body is not sent on, but for what it has sent itself with `forward`,
   * after so many bytes of which the connection breaks.
   */
  onRequest: (request: IncomingMessage, forward: (most: number) => void) => boolean | undefined = () => undefined;
  /** Bytes of blobs' contents that were sent on. */
  bytes = 0;
  readonly #server: Server;
  readonly #asked = new Map<string, number>();

  private constructor(server: Server) {
    this.#server = server;
    this.host = `localhost:${(server.address() as AddressInfo).port}`;
  }

  static async start(target: string): Promise<FaultProxy> {
    let proxy: FaultProxy | undefined;
    const server = createServer((incoming, answer) => {
      const port = Number(target.split(':')[1]);
      const options = {
        host: '127.0.0.1',
        port,
        path: incoming.url,
        method: incoming.method,
        headers: incoming.headers,
      };
      const outgoing = request(options, (upstream) => proxy?.pass(incoming, answer, upstream));
      outgoing.on('error', () => answer.destroy());
      const forward = (most: number): void => {
        let left = most;
        incoming.on('data', (piece: Buffer) => {
          if (left > 0) outgoing.write(piece.subarray(0, left));
          left -= piece.length;
          if (left > 0) return;
          outgoing.destroy();
          incoming.destroy();
        });
      };
      if (proxy?.onRequest(incoming, forward) !== true) incoming.pipe(outgoing);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    proxy = new FaultProxy(server);
    return proxy;
  }

  /** Forgets what was counted. */
  reset(meddle: Meddling = () => false): void {
    this.meddle = meddle;
    this.bytes = 0;
    this.#asked.clear();
  }

  pass(incoming: IncomingMessage, answer: ServerResponse, upstream: IncomingMessage): void {
    const url = incoming.url ?? '';
    if (url.includes('/blobs/sha256:')) {
      const before = this.#asked.get(url) ?? 0;
      this.#asked.set(url, before + 1);
      if (this.meddle({ request: incoming, answer, upstream, before }) === true) return;
      upstream.on('data', (piece: Buffer) => (this.bytes += piece.length));
    }
    answer.writeHead(upstream.statusCode ?? 500, upstream.headers);
    upstream.on('error', () => answer.destroy());
    upstream.pipe(answer);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** What a registry without TLS says is the digest of an image. */
export async function digestAt(ref: string): Promise<string> {
  const client = new Registry({ hostFolders: [] });
  try {
    return (await client.manifest(ref)).digest;
  } finally {
    client.close();
  }
}

/** Servers that a test makes up, on loopback. */
export class LoopbackServers {
  readonly #servers: TcpServer[] = [];

  /** @returns its port */
  async listen(server: TcpServer): Promise<number> {
    this.#servers.push(server.listen(0, '127.0.0.1'));
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  /** Ends them, with whatever is connected. */
  async close(): Promise<void> {
    for (const server of this.#servers.splice(0)) {
      if ('closeAllConnections' in server) (server as Server).closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  }
}
