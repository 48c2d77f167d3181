import { LayerfsError } from '../core/error.js';
import type { RegistryReference } from './address.js';
import { Authenticator } from './auth/authenticator.js';
import type { CredentialSource } from './auth/credentials.js';
import { Fault, shownUrl, statusFault } from './fault.js';
import type { Capability, Endpoint } from './hosts/endpoints.js';
import { readBeginning } from './http/limited.js';
import { Transport, type HttpAnswer } from './http/transport.js';

/** One question to a registry. */
export interface Ask {
  /** How messages call what is wanted. */
  readonly what: string;
  /** Below `/v2`, with its query. Or a whole URL, as servers name those to send to. */
  readonly path: string;
  readonly need: Capability;
  /** Mirrors are not asked. */
  readonly own?: boolean;
  /** GET without it. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Makes the body, each time that it is sent. */
  readonly body?: () => AsyncIterable<Uint8Array>;
  /** Statuses that are an answer; any other is an error. */
  readonly expect: readonly number[];
  /** A further repository that is to be read from. */
  readonly alsoFrom?: string;
}

export interface ConnectionOptions {
  readonly credentials: CredentialSource;
  readonly environment: NodeJS.ProcessEnv;
  readonly idle: number;
}

const MOST_REDIRECTS = 5;
/** So often is somebody asked who ends the connection, or says nothing, without ever having answered. */
const MOST_SILENCES = 3;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const NOT_TLS =
  /^(?:EPROTO|ECONNRESET|ERR_SSL_WRONG_VERSION_NUMBER|ERR_SSL_PACKET_LENGTH_TOO_LONG|ERR_SSL_HTTP_REQUEST)$/;

/** One endpoint, with what we know of it: how to prove who we are, and whether it speaks TLS. */
export class Connection {
  readonly endpoint: Endpoint;
  readonly #host: string;
  readonly #options: ConnectionOptions;
  readonly #own: Transport;
  /** For where it sends us, which gets neither our certificate nor our credentials. */
  readonly #others: Transport;
  /** By repository: each may have credentials of its own. */
  readonly #authenticators = new Map<string, Authenticator>();
  #base: Promise<URL> | undefined;
  #reached = false;
  #silences = 0;

  /** @param host the registry that it serves */
  constructor(host: string, endpoint: Endpoint, options: ConnectionOptions) {
    this.endpoint = endpoint;
    this.#host = host;
    this.#options = options;
    const { idle, environment } = options;
    const { ca } = endpoint.tls;
    this.#own = new Transport(endpoint.tls, idle, environment);
    this.#others = new Transport(ca === undefined ? {} : { ca }, idle, environment);
  }

  /** Asks once. @throws Fault where asking again may help, LayerfsError where not */
  async ask(reference: RegistryReference, ask: Ask, signal: AbortSignal | undefined): Promise<HttpAnswer> {
    try {
      this.#base ??= this.#begin(signal);
      const url = await this.#base.catch((error: unknown) => {
        this.#base = undefined;
        throw error;
      });
      const answer = await this.#authorised(url, reference, ask, signal);
      this.#reached = true;
      if (ask.expect.includes(answer.status)) return answer;
      const beginning = await readBeginning(answer);
      const fault = statusFault(answer.status, answer.headers, answer.url, ask.what, beginning);
      // An address that was given for a time: the registry gives another one.
      if (answer.status === 403 && answer.url.host !== url.host) throw new Fault('permission-denied', fault.message);
      throw fault;
    } catch (error) {
      throw this.#reached ? error : this.#unreached(error);
    }
  }

  /** A registry of which nothing was ever heard is more likely to be misspelt, or not to want us, than to come up. */
  #unreached(error: unknown): unknown {
    if (!(error instanceof Fault) || error.silence === undefined) return error;
    if (error.silence === 'passing' && ++this.#silences < MOST_SILENCES) return error;
    const { base, tls } = this.endpoint;
    // Many servers end the connection where others say that they want a certificate.
    const hint =
      error.silence === 'passing' && base.protocol === 'https:' && tls.cert === undefined
        ? ' (some want a certificate: --cert and --key)'
        : '';
    return new LayerfsError(error.code, `${error.message}${hint}`, { cause: error.cause });
  }

  close(): void {
    this.#own.close();
    this.#others.close();
  }

  async #begin(signal: AbortSignal | undefined): Promise<URL> {
    return this.endpoint.guess ? await this.#guess(signal) : this.endpoint.base;
  }

  #authenticator(base: URL, repository: string): Authenticator {
    let authenticator = this.#authenticators.get(repository);
    if (authenticator !== undefined) return authenticator;
    // A mirror has credentials of its own.
    const host = this.endpoint.mirror ? base.host : this.#host;
    authenticator = new Authenticator({
      base,
      credentials: (signal) => this.#options.credentials({ host, repository }, signal),
      send: (target, headers, form, signal) =>
        (target.host === base.host ? this.#own : this.#others).send({
          method: form === undefined ? 'GET' : 'POST',
          url: target,
          headers: { ...headers, 'user-agent': 'layerfs' },
          ...(form === undefined ? {} : { body: once(Buffer.from(form)) }),
          signal,
        }),
    });
    this.#authenticators.set(repository, authenticator);
    return authenticator;
  }

  /** A registry on this machine may have TLS or not: with, if that works. */
  async #guess(signal: AbortSignal | undefined): Promise<URL> {
    const { base } = this.endpoint;
    try {
      await this.#own.greet(base, signal);
      return base;
    } catch (error) {
      const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
      // Only who speaks TLS says by TLS that he does not want to.
      if (/\balert\b|_ALERT_/.test(`${cause?.code ?? ''} ${cause?.message ?? ''}`)) return base;
      if (!NOT_TLS.test(cause?.code ?? '')) throw error;
      const plain = new URL(base.href);
      plain.protocol = 'http:';
      return plain;
    }
  }

  async #authorised(
    base: URL,
    reference: RegistryReference,
    ask: Ask,
    signal: AbortSignal | undefined,
  ): Promise<HttpAnswer> {
    const actions = ask.need === 'push' ? 'pull,push' : 'pull';
    const scopes = [reference.repository, ...(ask.alsoFrom === undefined ? [] : [ask.alsoFrom])]
      .filter((repository) => repository !== '')
      .map((repository, i) => `repository:${repository}:${i === 0 ? actions : 'pull'}`);
    const authenticator = this.#authenticator(base, reference.repository);
    for (let tries = 0; ; tries++) {
      const authorization = await authenticator.header(scopes, signal);
      const answer = await this.#follow(base, ask, authorization, signal);
      if (answer.status !== 401 || answer.url.host !== base.host || tries === 2) return answer;
      if (!(await authenticator.refused(answer, scopes, authorization, signal))) return answer;
      await answer.discard();
    }
  }

  async #follow(
    base: URL,
    { method = 'GET', path, headers, body, need }: Ask,
    authorization: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<HttpAnswer> {
    let url = new URL(path.startsWith('/') ? `${base.href}${path}` : path);
    // Which registry a mirror is asked for, as containerd says it.
    if (this.endpoint.mirror && base.host !== this.#host) url.searchParams.set('ns', this.#host);
    for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
      const own = url.host === base.host && url.protocol === base.protocol;
      const answer = await (own ? this.#own : this.#others).send({
        method,
        url,
        headers: {
          'user-agent': 'layerfs',
          ...headers,
          ...(own ? this.endpoint.headers : {}),
          ...(own && authorization !== undefined ? { authorization } : {}),
        },
        ...(body === undefined ? {} : { body: body() }),
        signal,
      });
      const { location } = answer.headers;
      if (!REDIRECTS.has(answer.status) || location === undefined || need === 'push') return answer;
      await answer.discard();
      if (!URL.canParse(location, url.href)) {
        throw new LayerfsError('invalid-argument', `${shownUrl(url)} leads to an address that is none`);
      }
      const next = new URL(location, url);
      if (next.protocol !== 'https:' && !(next.protocol === 'http:' && url.protocol === 'http:')) {
        throw new LayerfsError('permission-denied', `${shownUrl(url)} leads away from TLS, to ${shownUrl(next)}`);
      }
      url = next;
    }
    throw new LayerfsError('unavailable', `${shownUrl(base)}: redirected more than ${MOST_REDIRECTS} times`);
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
