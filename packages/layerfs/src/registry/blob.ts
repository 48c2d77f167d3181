import { createHash } from 'node:crypto';
import { digestFromBytes, type Digest } from '../core/digest.js';
import { LayerfsError } from '../core/error.js';
import { Backoff, type RetryOptions } from './backoff.js';
import type { Ask } from './connection.js';
import { Fault, settled } from './fault.js';
import type { HttpAnswer } from './http/transport.js';

/** A blob, and where it is. Bytes. */
interface Wanted {
  readonly what: string;
  readonly path: string;
  readonly digest: Digest;
  readonly size: number;
}

interface ReadOptions {
  readonly offset?: number;
  readonly verify?: boolean;
  readonly retry: RetryOptions;
  readonly onFetched?: (bytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** So much has to come for a failure to count as the first of its row. */
const PROGRESS = 64 * 1024;

/** See {@link Registry.blob}. @param ask tries once */
export async function* readBlob(
  ask: (ask: Ask) => Promise<HttpAnswer>,
  wanted: Wanted,
  options: ReadOptions,
): AsyncGenerator<Uint8Array> {
  const { what, size, digest } = wanted;
  const { offset = 0, signal } = options;
  const hash = options.verify === false || offset > 0 ? undefined : createHash('sha256');
  const backoff = new Backoff(options.retry);
  let at = offset;
  let failedAt = offset;
  while (at < size) {
    try {
      const answer = await ask({
        what,
        path: wanted.path,
        need: 'pull',
        headers: { 'accept-encoding': 'identity', ...(at > 0 ? { range: `bytes=${at}-` } : {}) },
        expect: at > 0 ? [200, 206] : [200],
      });
      for await (const piece of from(answer, at, wanted, options.onFetched)) {
        at += piece.length;
        hash?.update(piece);
        yield piece;
      }
      if (at < size) throw new Fault('corrupt', `${what} ends after ${at} of ${size} bytes`);
    } catch (error) {
      if (!(error instanceof Fault)) throw settled(error);
      if (at >= failedAt + PROGRESS) backoff.reset();
      failedAt = at;
      await backoff.wait(error, signal);
    }
  }
  if (hash === undefined) return;
  const found = digestFromBytes(hash.digest());
  if (found !== digest) {
    throw new LayerfsError('corrupt', `${what} is damaged: its content has digest ${found}`);
  }
}

/** The pieces of an answer from `at` on, which a server that knows no ranges has to be made to give. */
async function* from(
  answer: HttpAnswer,
  at: number,
  { what, size }: Wanted,
  onFetched: ReadOptions['onFetched'],
): AsyncGenerator<Uint8Array> {
  const partial = answer.status === 206;
  const begins = partial ? at : 0;
  const announced = answer.headers['content-length'];
  const range = answer.headers['content-range'];
  const wrong =
    (partial && !isRange(range, at, size) ? `the answer is another range than the one from ${at} on` : undefined) ??
    (announced !== undefined && Number(announced) !== size - begins
      ? `${announced} bytes are announced where ${size - begins} should come`
      : undefined);
  if (wrong !== undefined) {
    await answer.discard();
    throw new Fault('corrupt', `${what}: ${wrong}`);
  }
  let skip = at - begins;
  let left = size - at;
  for await (let piece of answer.body) {
    onFetched?.(piece.length);
    if (skip > 0) {
      const skipped = Math.min(skip, piece.length);
      skip -= skipped;
      piece = piece.subarray(skipped);
      if (piece.length === 0) continue;
    }
    if (piece.length > left) throw new Fault('corrupt', `${what} has more than ${size} bytes`);
    left -= piece.length;
    yield piece;
    // Whoever announces nothing need not end; where something was announced, the end is here, and the connection stays.
    if (left === 0 && announced === undefined) return;
  }
}

function isRange(header: string | undefined, from: number, size: number): boolean {
  const [, first, last, all] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header ?? '') ?? [];
  return Number(first) === from && Number(last) === size - 1 && (all === '*' || Number(all) === size);
}
