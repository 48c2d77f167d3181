/** Giving a registry a blob that it lacks (distribution-spec 1.1, "Push"): in chunks, and gone on with where it was interrupted. */
import type { Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { Backoff, type RetryOptions } from '../backoff.js';
import type { Ask } from '../connection.js';
import { Fault, settled } from '../fault.js';
import type { HttpAnswer } from '../http/transport.js';
import { Pieces } from './pieces.js';
import { TYPE, UploadSession } from './session.js';

/** How a blob got to be in a repository. */
export type Uploaded = 'exists' | 'mounted' | 'uploaded';

/** Where somebody keeps what is needed to go on with an upload, should this process end. */
export interface UploadMemory {
  /** What was last written. */
  read(): string | undefined;
  /** An address at the server, which may hold a secret; undefined where there is nothing to go on with. */
  write(location: string | undefined): void;
}

/** A blob to be given. `size` in bytes. */
export interface Upload {
  readonly repository: string;
  readonly digest: Digest;
  readonly size: number;
  /** Its bytes from an offset on; called again when it is tried again. */
  readonly content: (offset: number) => AsyncIterable<Uint8Array>;
  /** A repository of the same registry that has it. */
  readonly from: string | undefined;
  /** Bytes; a blob that is no longer is sent in one piece. */
  readonly chunk: number;
  readonly memory?: UploadMemory | undefined;
  /** Told how many bytes the server has. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** 8 MiB: two of them are in memory for each upload. */
export const CHUNK = 8 << 20;

/** So much more than ever before has to be there for a failure to count as the first of its row. */
const PROGRESS = 64 * 1024;

/** Bytes of a blob that is sent along with the request to begin an upload: not many, as most registries do not take it so. */
const SMALL = 32 << 10;

/** So often is a blob sent that the server refuses in the end. */
const MOST_REFUSED = 3;

type AskOnce = (ask: Ask) => Promise<HttpAnswer>;

/** Makes sure that a repository has a blob. @param ask tries once */
export async function uploadBlob(
  ask: AskOnce,
  upload: Upload,
  options: { readonly retry: RetryOptions; readonly signal?: AbortSignal | undefined },
): Promise<Uploaded> {
  const backoff = new Backoff(options.retry);
  const work = new Work(ask, upload);
  let best = 0;
  for (;;) {
    try {
      return await work.step();
    } catch (error) {
      if (!(error instanceof Fault)) throw settled(error);
      // The most that the server ever had: one that forgets again and again brings it to no end otherwise.
      if (work.reached >= best + PROGRESS) backoff.reset();
      best = Math.max(best, work.reached);
      await backoff.wait(error, options.signal);
    }
  }
}

class Work {
  readonly #ask: AskOnce;
  readonly #upload: Upload;
  readonly #what: string;
  #session: UploadSession | undefined;
  /** The server takes no chunks. */
  #whole: boolean;
  #sent = false;
  #remembered: string | undefined;
  #refused = 0;
  /** The most bytes that the server ever had. */
  reached = 0;

  constructor(ask: AskOnce, upload: Upload) {
    this.#ask = ask;
    this.#upload = upload;
    this.#what = `blob ${upload.digest}`;
    this.#whole = upload.size <= upload.chunk;
    this.#remembered = this.#whole ? undefined : upload.memory?.read();
  }

  /** Tries once. @throws Fault where another step may get further */
  async step(): Promise<Uploaded> {
    const { memory, onProgress, size } = this.#upload;
    if (await this.#exists()) {
      memory?.write(undefined);
      return this.#sent ? 'uploaded' : 'exists';
    }
    const session = (await this.#resumed()) ?? (await this.#begun());
    if (typeof session === 'string') {
      memory?.write(undefined);
      if (session === 'uploaded') onProgress?.(size);
      return session;
    }
    this.#session = session;
    const done = this.#whole ? await this.#sendWhole(session) : await this.#sendChunks(session);
    if (!done) throw this.#anew();
    memory?.write(undefined);
    onProgress?.(size);
    return 'uploaded';
  }

  async #exists(): Promise<boolean> {
    const { repository, digest } = this.#upload;
    const answer = await this.#ask({
      what: this.#what,
      path: `/${repository}/blobs/${digest}`,
      method: 'HEAD',
      need: 'push',
      expect: [200, 307, 404],
    });
    await answer.discard();
    return answer.status !== 404;
  }

  /** What was begun by this process or an earlier one, where the server still knows it. */
  async #resumed(): Promise<UploadSession | undefined> {
    const remembered = this.#remembered;
    this.#remembered = undefined;
    const session =
      this.#session ??
      (remembered === undefined ? undefined : UploadSession.known(this.#ask, this.#what, remembered, 0));
    this.#session = undefined;
    if (session === undefined || this.#whole) return undefined;
    return (await session.locate()) && session.offset <= this.#upload.size ? session : undefined;
  }

  /** @returns how it got there where the registry has it now: taken from the other repository, or all of it with the request */
  async #begun(): Promise<UploadSession | 'mounted' | 'uploaded'> {
    const { repository, digest, from, memory, size } = this.#upload;
    const path = `/${repository}/blobs/uploads/`;
    let answer: HttpAnswer | undefined;
    if (from === undefined && size <= SMALL && this.#whole && !this.#sent) {
      answer = await this.#beginWithAll(`${path}?digest=${encodeURIComponent(digest)}`);
      if (answer?.status === 201) return 'uploaded';
    }
    if (answer === undefined) {
      const mount = from === undefined ? '' : `?mount=${digest}&from=${encodeURIComponent(from)}`;
      answer = await this.#ask({
        what: this.#what,
        path: `${path}${mount}`,
        method: 'POST',
        headers: { 'content-length': '0' },
        need: 'push',
        expect: from === undefined ? [202] : [201, 202],
        ...(from === undefined ? {} : { alsoFrom: from }),
      });
      await answer.discard();
      if (answer.status === 201) return 'mounted';
    }
    const session = UploadSession.begun(this.#ask, this.#what, answer);
    if (session.shortest === undefined) this.#whole = true;
    if (!this.#whole) memory?.write(session.location);
    return session;
  }

  /** Saves a round trip. @returns undefined where the registry knows nothing of this way */
  async #beginWithAll(path: string): Promise<HttpAnswer | undefined> {
    const { size, content } = this.#upload;
    this.#sent = true;
    const answer = await this.#ask({
      what: this.#what,
      path,
      method: 'POST',
      headers: { ...TYPE, 'content-length': String(size) },
      body: () => content(0),
      need: 'push',
      // What is wrong shows when it is sent as usual.
      expect: [201, 202, 400, 403, 404, 405, 406, 409, 411, 413, 415, 422, 501],
    });
    await answer.discard();
    return answer.status <= 202 ? answer : undefined;
  }

  #sendWhole(session: UploadSession): Promise<boolean> {
    const { digest, size, content, onProgress } = this.#upload;
    this.#sent = true;
    const body = async function* (): AsyncGenerator<Uint8Array> {
      let done = 0;
      for await (const piece of content(0)) {
        yield piece;
        onProgress?.((done += piece.length));
      }
    };
    return session.finish(digest, { size, body });
  }

  async #sendChunks(session: UploadSession): Promise<boolean> {
    const { size, digest, memory, onProgress } = this.#upload;
    const chunk = Math.max(this.#upload.chunk, session.shortest ?? 0);
    const lengthAt = (at: number): number => Math.min(chunk, size - at);
    let pieces: Pieces | undefined;
    try {
      while (session.offset < size) {
        pieces ??= new Pieces(this.#upload.content(session.offset), this.#what);
        const length = lengthAt(session.offset);
        const sent = await session.send(await pieces.take(length, lengthAt(session.offset + length)));
        if (sent === 'gone') return false;
        if (sent === 'refused') {
          this.#whole = true;
          return false;
        }
        if (sent === 'moved') {
          await pieces.close();
          pieces = undefined;
          if (session.offset > size) return false;
        }
        this.#sent = true;
        this.reached = Math.max(this.reached, session.offset);
        memory?.write(session.location);
        onProgress?.(session.offset);
      }
    } finally {
      await pieces?.close();
    }
    if (await session.finish(digest)) return true;
    // What an earlier process sent may have been wrong; what we send twice is not.
    if (++this.#refused === MOST_REFUSED) {
      throw new LayerfsError('invalid-argument', `${this.#what}: the registry does not take it`);
    }
    return false;
  }

  /** The server has forgotten the upload, or has got it wrong, or takes no chunks: all of it once more. */
  #anew(): Fault {
    this.#session = undefined;
    this.#upload.memory?.write(undefined);
    return new Fault('unavailable', `${this.#what}: the registry does not go on with its upload`);
  }
}
