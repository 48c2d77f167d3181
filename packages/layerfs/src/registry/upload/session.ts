/** An upload that a registry has begun (distribution-spec 1.1, "Pushing a blob in chunks"). */
import type { Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { Ask } from '../connection.js';
import { Fault } from '../fault.js';
import type { HttpAnswer } from '../http/transport.js';

type AskOnce = (ask: Ask) => Promise<HttpAnswer>;

/** A server that wants longer chunks gets the blob as a whole: a chunk has to be in memory. */
const LONGEST_CHUNK = 64 << 20;
export const TYPE = { 'content-type': 'application/octet-stream' };

/** What became of a chunk: taken, to be continued elsewhere, or it cannot be done so. */
export type Sent = 'taken' | 'moved' | 'gone' | 'refused';

/** Where the server wants the rest of a blob, and how much of it it has. */
export class UploadSession {
  readonly #ask: AskOnce;
  readonly #what: string;
  #location: URL;
  /** Bytes that the server has. */
  offset = 0;
  /** Bytes that a chunk has to have, but for the last one; undefined where it is too much. */
  readonly shortest: number | undefined;

  private constructor(ask: AskOnce, what: string, location: URL, shortest: number | undefined) {
    this.#ask = ask;
    this.#what = what;
    this.#location = location;
    this.shortest = shortest;
  }

  /** The one that the answer to a request for it tells of. */
  static begun(ask: AskOnce, what: string, answer: HttpAnswer): UploadSession {
    const told = answer.headers['oci-chunk-min-length'];
    const shortest = typeof told === 'string' && /^\d{1,15}$/.test(told) ? Number(told) : 0;
    const location = locationIn(answer, what);
    if (location === undefined) {
      throw new LayerfsError('invalid-argument', `${what}: the registry does not say where to send it`);
    }
    return new UploadSession(ask, what, location, shortest > LONGEST_CHUNK ? undefined : shortest);
  }

  /** One that was begun earlier. Its `offset` is to be asked for with {@link locate}. */
  static known(ask: AskOnce, what: string, location: string, shortest: number): UploadSession | undefined {
    return URL.canParse(location) ? new UploadSession(ask, what, new URL(location), shortest) : undefined;
  }

  get location(): string {
    return this.#location.href;
  }

  /** Asks how much the server has. @returns whether it knows the upload, and says it clearly */
  async locate(): Promise<boolean> {
    const answer = await this.#request('GET', this.#location, {}, [204, 200, 400, 403, 404, 405, 410, 416]);
    await answer.discard();
    if (answer.status > 204) return false;
    const has = rangeEnd(answer.headers['range']);
    // `0-0` is one byte, or, from many, none.
    if (has === undefined || has === 1) return false;
    this.#follow(answer);
    this.offset = has;
    return true;
  }

  /** Sends a chunk of the blob from `offset` on. */
  async send(chunk: Uint8Array): Promise<Sent> {
    const end = this.offset + chunk.length;
    const headers = { ...TYPE, 'content-length': String(chunk.length), 'content-range': `${this.offset}-${end - 1}` };
    const expected = [201, 202, 204, 400, 404, 405, 410, 416, 501];
    const answer = await this.#request('PATCH', this.#location, headers, expected, () => once(chunk));
    await answer.discard();
    if (answer.status === 416) {
      const before = this.offset;
      if (!(await this.locate())) return 'gone';
      if (this.offset === before) throw new Fault('unavailable', `${this.#what}: the registry refuses its own range`);
      return 'moved';
    }
    if (answer.status === 404 || answer.status === 410) return 'gone';
    if (answer.status >= 300) return 'refused';
    this.#follow(answer);
    const has = rangeEnd(answer.headers['range']) ?? end;
    if (has > end) return 'gone';
    this.offset = has;
    return has === end ? 'taken' : 'moved';
  }

  /**
   * Ends it.
   * @param rest all of the blob, where nothing of it was sent
   * @returns whether the server took it; false where it does not know the upload, or has got something else
   */
  async finish(digest: Digest, rest?: { size: number; body: () => AsyncIterable<Uint8Array> }): Promise<boolean> {
    const target = new URL(this.#location);
    target.searchParams.set('digest', digest);
    const headers = { ...TYPE, 'content-length': String(rest?.size ?? 0) };
    // What the server refuses of a blob that was sent in one piece is an error to tell.
    const expected = rest === undefined ? [201, 204, 400, 404, 410, 416] : [201, 204];
    const answer = await this.#request('PUT', target, headers, expected, rest?.body);
    await answer.discard();
    return answer.status < 300;
  }

  #request(
    method: string,
    url: URL,
    headers: Readonly<Record<string, string>>,
    expect: readonly number[],
    body?: () => AsyncIterable<Uint8Array>,
  ): Promise<HttpAnswer> {
    const what = this.#what;
    return this.#ask({
      what,
      path: url.href,
      method,
      headers,
      need: 'push',
      expect,
      ...(body === undefined ? {} : { body }),
    });
  }

  #follow(answer: HttpAnswer): void {
    this.#location = locationIn(answer, this.#what) ?? this.#location;
  }
}

/** @throws LayerfsError permission-denied for one that leads away from TLS */
function locationIn(answer: HttpAnswer, what: string): URL | undefined {
  const { location } = answer.headers;
  if (location === undefined || !URL.canParse(location, answer.url.href)) return undefined;
  const target = new URL(location, answer.url);
  if (answer.url.protocol === 'https:' && target.protocol !== 'https:') {
    throw new LayerfsError('permission-denied', `${what}: the registry wants it to be sent without TLS`);
  }
  return target;
}

/** How many bytes a Range header of an upload covers from the beginning on: `0-99`, or `bytes=0-99`. */
function rangeEnd(header: string | string[] | undefined): number | undefined {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(typeof header === 'string' ? header : '')?.[1];
  return last === undefined ? undefined : Number(last) + 1;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
