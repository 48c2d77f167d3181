import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { isIP, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as tls from 'node:tls';
import { LayerfsError } from '../../core/error.js';
import { Fault, networkFault, shownUrl } from '../fault.js';
import { proxyFor, proxyHeaders } from './proxy.js';

/** What proves who a server is, and who we are. PEM texts. */
export interface TlsSettings {
  /** Trusted besides those that the system trusts. */
  readonly ca?: readonly string[];
  readonly cert?: string;
  readonly key?: string;
  /** Whoever answers is believed. */
  readonly skipVerify?: boolean;
}

/** One request. Nothing is followed, and nothing tried again. */
export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** With a `content-length` header. */
  readonly body?: AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
}

/** An answer, whose body must be read or let go. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly url: URL;
  /** To be read once. Throws what {@link networkFault} makes of a connection that breaks or stalls. */
  readonly body: AsyncIterable<Uint8Array>;
  /**
   * Gives up the body. Never fails; when it resolves, the connection is free for the next request, or closed where too much of the body
   * would have to come for that.
   */
  discard(): Promise<void>;
  /** Whoever waits for more of the body is told that nothing more comes. */
  giveUp(): void;
}

/** Where Linux distributions keep the certificates that the whole system trusts. */
const SYSTEM_CAS = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem'];

/** Connections with one set of TLS settings. */
export class Transport {
  readonly #tls: TlsSettings;
  readonly #idle: number;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #plain = new http.Agent({ keepAlive: true, maxSockets: 16 });
  #secure: https.Agent | undefined;
  #context: tls.SecureContext | undefined;

  /** @param idle milliseconds without a byte after which a server counts as gone */
  constructor(settings: TlsSettings, idle: number, environment: NodeJS.ProcessEnv) {
    this.#tls = settings;
    this.#idle = idle;
    this.#environment = environment;
  }

  /** @throws Fault or LayerfsError as {@link networkFault} makes it */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    try {
      return await this.#send(request);
    } catch (error) {
      throw networkFault(request.signal?.aborted === true ? new DOMException('', 'AbortError') : error, request.url);
    }
  }

  /**
   * Begins to speak TLS with a server, and ends that: whoever it is, nothing is said. Needs no list of authorities, which takes long to
   * read.
   * @throws Fault or LayerfsError as {@link networkFault} makes it
   */
  async greet(url: URL, signal: AbortSignal | undefined): Promise<void> {
    const { cert, key } = this.#tls;
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const secureContext = tls.createSecureContext({
      ca: [],
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
    const port = url.port === '' ? 443 : Number(url.port);
    const servername = isIP(host) === 0 ? host : '';
    const socket = tls.connect({ host, port, servername, secureContext, rejectUnauthorized: false });
    const timer = setTimeout(() => socket.destroy(stalled(url)), this.#idle);
    try {
      await once(socket, 'secureConnect', signal === undefined ? {} : { signal });
    } catch (error) {
      throw networkFault(error, url);
    } finally {
      clearTimeout(timer);
      socket.on('error', () => undefined).destroy();
    }
  }

  close(): void {
    this.#plain.destroy();
    this.#secure?.destroy();
  }

  async #send(request: HttpRequest): Promise<HttpAnswer> {
    const { method, url, signal } = request;
    const proxy = proxyFor(url, this.#environment);
    const headers = { ...request.headers };
    const options: https.RequestOptions = { method, headers, ...(signal === undefined ? {} : { signal }) };
    let outgoing: http.ClientRequest;
    if (url.protocol === 'https:') {
      const secured = { rejectUnauthorized: this.#tls.skipVerify !== true, secureContext: this.#secureContext() };
      if (proxy === undefined) {
        this.#secure ??= new https.Agent({ keepAlive: true, maxSockets: 16 });
        outgoing = https.request(url, { ...options, ...secured, agent: this.#secure });
      } else {
        const socket = await this.#tunnel(proxy, url, signal);
        const host = url.hostname.replace(/^\[|\]$/g, '');
        const connection = tls.connect({ ...secured, socket, host, servername: isIP(host) === 0 ? host : '' });
        // With an agent, be it false, Node connects by itself.
        outgoing = https.request(url, { ...options, createConnection: () => connection });
      }
    } else if (proxy === undefined) {
      outgoing = http.request(url, { ...options, agent: this.#plain });
    } else {
      const sent = { ...headers, ...proxyHeaders(proxy), host: url.host };
      outgoing = requestOf(proxy)(proxy, { ...options, headers: sent, path: url.href, agent: false });
    }
    return this.#exchange(outgoing, request);
  }

  async #exchange(outgoing: http.ClientRequest, { url, body }: HttpRequest): Promise<HttpAnswer> {
    const timer = setTimeout(() => outgoing.destroy(stalled(url)), this.#idle);
    try {
      const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
        outgoing.once('response', resolve);
        // Also after the answer: a connection that breaks later is told by the body.
        outgoing.on('error', reject);
      });
      // Where sending fails first, that is the error to tell.
      answered.catch(() => undefined);
      if (body === undefined) outgoing.end();
      else await sendBody(outgoing, body, answered, () => timer.refresh());
      const message = await answered;
      return {
        status: message.statusCode ?? 0,
        headers: message.headers,
        url,
        body: piecesOf(message, url, this.#idle),
        discard: () => letGo(message, outgoing),
        giveUp: () => void message.destroy(stalled(url)),
      };
    } finally {
      clearTimeout(timer);
    }
  }

  /** A connection to a host through a proxy. */
  #tunnel(proxy: URL, url: URL, signal: AbortSignal | undefined): Promise<Socket> {
    const target = `${url.hostname}:${url.port === '' ? '443' : url.port}`;
    const request = requestOf(proxy)(proxy, {
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...proxyHeaders(proxy) },
      agent: false,
      timeout: this.#idle,
      ...(signal === undefined ? {} : { signal }),
    });
    return new Promise((resolve, reject) => {
      request.once('timeout', () => request.destroy(stalled(url)));
      request.once('error', reject);
      const refused = ({ statusCode }: http.IncomingMessage): Error =>
        statusCode === 407
          ? new LayerfsError('permission-denied', `${shownUrl(url)}: the proxy wants to know who we are (407)`)
          : refusal(statusCode ?? 0, `${shownUrl(url)}: the proxy answers ${statusCode ?? 0}`);
      request.once('response', (answer: http.IncomingMessage) => {
        answer.destroy();
        reject(refused(answer));
      });
      request.once('connect', (answer: http.IncomingMessage, socket: Socket) => {
        if (answer.statusCode === 200) return resolve(socket);
        socket.destroy();
        reject(refused(answer));
      });
      request.end();
    });
  }

  #secureContext(): tls.SecureContext {
    if (this.#context !== undefined) return this.#context;
    const { ca = [], cert, key } = this.#tls;
    const named = this.#environment['SSL_CERT_FILE'];
    const system = named ?? SYSTEM_CAS.find((path) => existsSync(path));
    // Node trusts a list of its own; people add to the system's.
    const trusted = system === undefined ? [] : [readFileSync(system, 'utf8')];
    const own = process.env['NODE_EXTRA_CA_CERTS'];
    if (own !== undefined && existsSync(own)) trusted.push(readFileSync(own, 'utf8'));
    this.#context = tls.createSecureContext({
      ca: [...(system === undefined ? tls.rootCertificates : []), ...trusted, ...ca],
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
    return this.#context;
  }
}

function requestOf(url: URL): typeof https.request {
  return url.protocol === 'https:' ? https.request : http.request;
}

function stalled(url: URL): Fault {
  return new Fault('unavailable', `${shownUrl(url)}: nothing more comes`, { silence: 'passing' });
}

/** A proxy that does not want to is not asked again. */
function refusal(status: number, message: string): Error {
  const lasting = status >= 400 && status < 500 && status !== 408 && status !== 429;
  return lasting ? new LayerfsError('unavailable', message) : new Fault('unavailable', message);
}

/** A server may answer, with an error, before it has taken everything. */
async function sendBody(
  outgoing: http.ClientRequest,
  body: AsyncIterable<Uint8Array>,
  answered: Promise<http.IncomingMessage>,
  onPiece: () => void,
): Promise<void> {
  const watched = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of body) {
      onPiece();
      yield piece;
    }
  };
  let early = false;
  const sending = pipeline(Readable.from(watched(), { objectMode: false }), outgoing).catch((error: unknown) => {
    if (!early) throw error;
  });
  await Promise.race([sending, answered.then(() => (early = true))]);
}

/** So many bytes are read, and so many milliseconds waited, for the sake of a connection. */
const CHEAP = { bytes: 16 << 10, time: 1000 } as const;

/** A connection costs two or three round trips: those of answers that say nothing more are kept. */
async function letGo(message: http.IncomingMessage, { method, writableFinished }: http.ClientRequest): Promise<void> {
  let size = 0;
  const timer = setTimeout(() => message.destroy(), CHEAP.time);
  try {
    const announced = method === 'HEAD' ? 0 : Number(message.headers['content-length'] ?? 0);
    // What is still being sent is of no use any more.
    if (announced > CHEAP.bytes || !writableFinished) return;
    message.on('data', (piece: Buffer) => {
      if ((size += piece.length) > CHEAP.bytes) message.destroy();
    });
    await new Promise<void>((resolve) => {
      for (const event of ['end', 'error', 'close']) message.once(event, () => resolve());
    });
  } finally {
    clearTimeout(timer);
    message.on('error', () => undefined).destroy();
  }
}

async function* piecesOf(message: http.IncomingMessage, url: URL, idle: number): AsyncGenerator<Uint8Array> {
  let waiting = true;
  // Whoever reads may take its time; only the server must not.
  const timer = setTimeout(() => waiting && message.destroy(stalled(url)), idle);
  try {
    for await (const piece of message as AsyncIterable<Buffer>) {
      waiting = false;
      yield piece;
      waiting = true;
      timer.refresh();
    }
  } catch (error) {
    throw networkFault(error, url);
  } finally {
    clearTimeout(timer);
    message.destroy();
  }
}
