/** Proving to one host who we are: nothing, a password, or tokens that are got with one (distribution spec, "token"). */
import { LayerfsError } from '../../core/error.js';
import { isLoopback } from '../address.js';
import { shownUrl, statusFault } from '../fault.js';
import type { HttpAnswer } from '../http/transport.js';
import { readLimited } from '../http/limited.js';
import { parseChallenges } from './challenge.js';
import type { Credentials } from './credentials.js';

interface Token {
  readonly header: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
}

interface Realm {
  readonly url: URL;
  readonly service: string | undefined;
}

/** What it needs of the client around it. */
export interface AuthenticatorOptions {
  /** The registry's own address. */
  readonly base: URL;
  readonly credentials: (signal: AbortSignal | undefined) => Promise<Credentials | undefined>;
  /** Sends to a realm; follows nothing. */
  readonly send: (
    url: URL,
    headers: Readonly<Record<string, string>>,
    form: string | undefined,
    signal: AbortSignal | undefined,
  ) => Promise<HttpAnswer>;
}

const TOKEN_LIMIT = 1 << 20;
/** A token is renewed so many milliseconds before it ends. */
const EARLY = 5000;

/** Knows how one host wants to be asked, and has the tokens for it. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #tokens = new Map<string, Token>();
  readonly #fetching = new Map<string, Promise<Token>>();
  #basic: string | undefined;
  #realm: Realm | undefined;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** The Authorization header for these scopes, as far as the host has said that it wants one. */
  async header(scopes: readonly string[], signal: AbortSignal | undefined): Promise<string | undefined> {
    if (this.#realm === undefined) return this.#basic;
    return (await this.#token(this.#realm, scopes, signal)).header;
  }

  /**
   * Takes in that a request was not authorised.
   * @param used the header that it had
   * @returns whether asking again makes sense
   */
  async refused(
    answer: HttpAnswer,
    scopes: readonly string[],
    used: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const challenges = parseChallenges(answer.headers['www-authenticate']);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) {
      this.#realm = { url: this.#realmUrl(bearer.parameters.get('realm')), service: bearer.parameters.get('service') };
      const key = scopes.join(' ');
      // Another request may have renewed it meanwhile.
      if (this.#tokens.get(key)?.header === used) this.#tokens.delete(key);
      return true;
    }
    if (!challenges.some(({ scheme }) => scheme === 'basic') || used !== undefined) return false;
    this.#basic = basicHeader(await this.#options.credentials(signal));
    return this.#basic !== undefined;
  }

  /** Credentials are sent there: not in the clear, unless the registry itself is asked in the clear, or it is this machine. */
  #realmUrl(text: string | undefined): URL {
    const { base } = this.#options;
    if (text === undefined || !URL.canParse(text)) {
      throw new LayerfsError('invalid-argument', `${shownUrl(base)} names no realm to get tokens from`);
    }
    const url = new URL(text);
    const clear = url.protocol === 'http:' && (base.protocol === 'http:' || isLoopback(url.host));
    if (url.protocol !== 'https:' && !clear) {
      throw new LayerfsError(
        'permission-denied',
        `${shownUrl(base)} wants credentials to be sent to ${shownUrl(url)}, without encryption`,
      );
    }
    return url;
  }

  async #token(realm: Realm, scopes: readonly string[], signal: AbortSignal | undefined): Promise<Token> {
    const key = scopes.join(' ');
    const known = this.#tokens.get(key);
    if (known !== undefined && known.expires - EARLY > Date.now()) return known;
    let fetching = this.#fetching.get(key);
    if (fetching === undefined) {
      fetching = this.#fetch(realm, scopes, signal)
        .then((token) => {
          this.#tokens.set(key, token);
          return token;
        })
        .finally(() => this.#fetching.delete(key));
      this.#fetching.set(key, fetching);
    }
    return fetching;
  }

  async #fetch({ url, service }: Realm, scopes: readonly string[], signal: AbortSignal | undefined): Promise<Token> {
    const credentials = await this.#options.credentials(signal);
    const asked = new URL(url);
    let form: string | undefined;
    const headers: Record<string, string> = { accept: 'application/json' };
    if (credentials !== undefined && 'identityToken' in credentials) {
      form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: credentials.identityToken,
        client_id: 'layerfs',
        scope: scopes.join(' '),
        ...(service === undefined ? {} : { service }),
      }).toString();
      headers['content-type'] = 'application/x-www-form-urlencoded';
      headers['content-length'] = String(Buffer.byteLength(form));
    } else {
      if (service !== undefined) asked.searchParams.set('service', service);
      for (const scope of scopes) asked.searchParams.append('scope', scope);
      const basic = basicHeader(credentials);
      if (basic !== undefined) headers['authorization'] = basic;
    }
    const answer = await this.#options.send(asked, headers, form, signal);
    const bytes = await readLimited(answer, TOKEN_LIMIT, 'the token');
    const what = `getting a token from ${shownUrl(url)}`;
    if (answer.status !== 200) throw statusFault(answer.status, answer.headers, url, what, bytes);
    return parseToken(bytes, what);
  }
}

function basicHeader(credentials: Credentials | undefined): string | undefined {
  if (credentials === undefined || !('password' in credentials)) return undefined;
  const { username, password } = credentials;
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** The answer is no part of any message: it is a secret. */
function parseToken(bytes: Uint8Array, what: string): Token {
  let value: { token?: unknown; access_token?: unknown; expires_in?: unknown } | null;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8')) as typeof value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new LayerfsError('invalid-argument', `${what}: the answer is not JSON`);
  }
  const token = value?.token ?? value?.access_token;
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw new LayerfsError('invalid-argument', `${what}: there is none in the answer`);
  }
  const given = value?.expires_in;
  // 60 seconds is what the specification says where nothing is said.
  const seconds = typeof given === 'number' && given > 0 ? given : 60;
  return { header: `Bearer ${token}`, expires: Date.now() + Math.max(seconds * 1000, EARLY * 2) };
}
