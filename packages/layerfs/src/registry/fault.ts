import { LayerfsError, type LayerfsErrorCode } from '../core/error.js';
import { shown } from '../core/oci/json.js';

/** Whether that is likely to stay so where nothing was ever heard before. */
type Silence = 'lasting' | 'passing';

/** A failure that may pass, with what is known of when. It never leaves the client: {@link settled} makes an error of it. */
export class Fault extends Error {
  readonly code: LayerfsErrorCode;
  /** Milliseconds to wait, as the server asked. */
  readonly wait: number | undefined;
  /** No answer came: nobody was there, or whoever was there said nothing that we understand, or ended the connection, or kept silent. */
  readonly silence: Silence | undefined;

  constructor(
    code: LayerfsErrorCode,
    message: string,
    options: {
      readonly wait?: number | undefined;
      readonly silence?: Silence | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.wait = options.wait;
    this.silence = options.silence;
  }
}

/** What is thrown once trying again is given up. */
export function settled(error: unknown): unknown {
  return error instanceof Fault ? new LayerfsError(error.code, error.message, { cause: error.cause }) : error;
}

/** A URL for messages: without user, password and query, any of which may be a secret. */
export function shownUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`.slice(0, 300);
}

const NO_HOST = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EACCES',
  'EPERM',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
]);
const TLS_CODE =
  /^(?:CERT_|ERR_TLS_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|ERR_SSL_|ERR_OSSL)/;
/** What the server thinks of our certificate, or of having none: OpenSSL's code, or its words. */
const ALERT = /\balert ([a-z ]+)|_ALERT_([A-Z_]+)/;
const OF_CERTIFICATE = /certificate|unknown ca|access denied/;

/** What the network did instead of answering. */
export function networkFault(error: unknown, url: URL): Error {
  if (error instanceof Fault || error instanceof LayerfsError) return error;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (code === 'ABORT_ERR' || (error as Error).name === 'AbortError') {
    return new LayerfsError('aborted', 'interrupted', { cause: error });
  }
  const alert = ALERT.exec(code === 'EPROTO' ? message : code);
  const told = (alert?.[1] ?? alert?.[2] ?? '').replaceAll('_', ' ').trim().toLowerCase();
  if (OF_CERTIFICATE.test(told)) {
    const text = `${shownUrl(url)}: TLS: it wants a certificate of us (--cert and --key), or another one: ${told}`;
    return new LayerfsError('permission-denied', text, { cause: error });
  }
  // A byte was spoilt on the way.
  if (TLS_CODE.test(code) && !/BAD_RECORD_MAC/i.test(code)) {
    const hint = /CERT|SIGNED|UNABLE|HOSTNAME|ALTNAME/.test(code) ? ' (its certificate is not trusted here)' : '';
    return new LayerfsError('unavailable', `${shownUrl(url)}: TLS: ${code}${hint}`, { cause: error });
  }
  if (code === 'EPROTO') {
    // OpenSSL's own words: that it is no TLS, or why the server does not want us.
    const hint = /wrong version number|packet length too long|http request/i.test(message)
      ? 'it does not speak TLS (--plain-http asks without)'
      : `TLS: ${told === '' ? code : told}`;
    return new LayerfsError('unavailable', `${shownUrl(url)}: ${hint}`, { cause: error });
  }
  if (code.startsWith('HPE_')) {
    const text = `${shownUrl(url)}: the answer is not HTTP (${code})`;
    return new Fault('invalid-argument', text, { silence: 'lasting', cause: error });
  }
  const why = NO_HOST.has(code) ? `cannot be reached (${code})` : code === '' ? message : `connection failed (${code})`;
  return new Fault('unavailable', `${shownUrl(url)}: ${why}`, {
    silence: NO_HOST.has(code) ? 'lasting' : 'passing',
    cause: error,
  });
}

const CODES: Readonly<Record<number, LayerfsErrorCode>> = {
  400: 'invalid-argument',
  401: 'permission-denied',
  403: 'permission-denied',
  404: 'not-found',
  405: 'unimplemented',
  413: 'resource-exhausted',
};
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** What an answer's status means where another one was expected. @param body the beginning of the answer */
export function statusFault(
  status: number,
  headers: NodeJS.Dict<string | string[]>,
  url: URL,
  what: string,
  body: Uint8Array,
): Error {
  const told = registryMessage(body);
  const words: Record<number, string> = {
    401: 'not authorised: log in with layerfs login',
    403: 'access denied',
    404: 'not found',
    429: 'too many requests',
  };
  const message = `${what}: ${words[status] ?? `the answer is ${status}`} (${shownUrl(url)}${told === '' ? '' : `: ${told}`})`;
  if (PASSING.has(status)) {
    return new Fault('unavailable', message, { wait: retryAfter(headers['retry-after']) });
  }
  return new LayerfsError(CODES[status] ?? 'unavailable', message);
}

/** What a registry says about an error, in its own format (distribution spec, "Error Codes"). */
function registryMessage(body: Uint8Array): string {
  try {
    const { errors } = JSON.parse(Buffer.from(body).toString('utf8')) as { errors?: unknown };
    const first = Array.isArray(errors) ? (errors[0] as { code?: unknown; message?: unknown } | null) : undefined;
    const texts = [first?.code, first?.message].filter((text) => typeof text === 'string' && text !== '');
    return texts.map((text) => shown(text).slice(1, -1)).join(', ');
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return '';
    throw error;
  }
}

/** Milliseconds of a Retry-After header (RFC 9110, 10.2.3): seconds or a date. */
export function retryAfter(header: string | string[] | undefined, now = Date.now()): number | undefined {
  if (typeof header !== 'string') return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const time = Date.parse(header);
  return Number.isNaN(time) ? undefined : Math.max(0, time - now);
}
