/** A client of the OCI distribution protocol (distribution-spec 1.1; Docker's registry HTTP API V2 is the same). */
import type { Digest } from '../core/digest.js';
import { LayerfsError } from '../core/error.js';
import type { Descriptor } from '../core/oci/descriptor.js';
import { MAX_DOCUMENT, parseDocument, shown } from '../core/oci/json.js';
import { isIndexType, isManifestType, MEDIA_TYPE } from '../core/oci/media-types.js';
import { parseRegistryHost, parseRegistryReference, type RegistryReference } from './address.js';
import { storedCredentials, type CredentialSource } from './auth/credentials.js';
import { Backoff, RETRY, type RetryOptions } from './backoff.js';
import { readBlob } from './blob.js';
import { Connection, type Ask } from './connection.js';
import { documentDigest } from './digest.js';
import { Fault, settled } from './fault.js';
import { endpointsOf, HOST_FOLDERS, type RegistrySettings } from './hosts/endpoints.js';
import { readLimited } from './http/limited.js';
import type { HttpAnswer, TlsSettings } from './http/transport.js';
import { putManifest } from './upload/manifest.js';
import { CHUNK, uploadBlob, type Uploaded, type UploadMemory } from './upload/upload.js';

/** Options of a {@link Registry}. */
export interface RegistryOptions {
  /** Where credentials come from; by default what Docker, podman and their helpers keep. */
  readonly credentials?: CredentialSource;
  /** Registries (`host` or `host:port`) that are asked without TLS; true for all. This machine is, where it has none. */
  readonly plainHttp?: readonly string[] | boolean;
  /** Further authorities, and a client certificate. PEM texts. */
  readonly tls?: TlsSettings;
  /** What is said about single registries, by `host` or `host:port`; it goes before the folders. */
  readonly settings?: Readonly<Record<string, RegistrySettings>>;
  /** Folders of settings for registries, in place of {@link HOST_FOLDERS}. */
  readonly hostFolders?: readonly string[];
  readonly retry?: Partial<RetryOptions>;
  /** Milliseconds without a byte after which a connection is given up; 60,000 by default. */
  readonly idle?: number;
  /** Where proxies and files of authorities are named. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** Options of every call. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** A manifest or index as it came. `digest` is that of the bytes. */
export interface FetchedManifest {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
  readonly mediaType: string;
}

/** Options of {@link Registry.blob}. */
export interface BlobOptions extends CallOptions {
  /** Where to begin, in bytes; the digest is only verified from the beginning. */
  readonly offset?: number;
  /** False where the caller verifies the digest itself. */
  readonly verify?: boolean;
  /** Told of each piece that came over the network, in bytes. */
  readonly onFetched?: (bytes: number) => void;
}

/** Options of {@link Registry.uploadBlob}. */
export interface UploadOptions extends CallOptions {
  /** A repository of the same registry that has it. */
  readonly from?: string | undefined;
  /** Bytes of a chunk; 8 MiB by default. A server may want longer ones. */
  readonly chunk?: number;
  /** Lets a later process go on with it. */
  readonly memory?: UploadMemory | undefined;
  /** Told how many bytes the registry has got. */
  readonly onProgress?: (done: number) => void;
}

const ACCEPT = [
  MEDIA_TYPE.manifest,
  MEDIA_TYPE.index,
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
].join(', ');
/** Most tags that are listed, and most pages of them: those may be empty. */
const MAX_TAGS = 1_000_000;
const MAX_PAGES = 10_000;

/**
 * Speaks to registries, any number of them. Every method throws LayerfsError: not-found, permission-denied (credentials),
 * unavailable (network, after several tries), corrupt (not what its digest says), invalid-argument (no registry answers
 * like that), resource-exhausted (larger than is accepted), aborted. No message holds a secret.
 */
export class Registry {
  readonly #options: RegistryOptions;
  readonly #credentials: CredentialSource;
  readonly #retry: RetryOptions;
  readonly #connections = new Map<string, Connection[]>();

  constructor(options: RegistryOptions = {}) {
    this.#options = options;
    this.#credentials = options.credentials ?? storedCredentials(options.environment);
    this.#retry = { ...RETRY, ...options.retry };
  }

  /** Whether a registry answers, and takes our credentials. @param host `host` or `host:port` */
  async ping(host: string, options: CallOptions = {}): Promise<void> {
    const reference = { host: parseRegistryHost(host), repository: '' };
    await this.#trying(options.signal, async () => {
      const ask: Ask = { what: `registry ${reference.host}`, path: '/', need: 'push', own: true, expect: [200] };
      await (await this.ask(reference, ask, options.signal)).discard();
    });
  }

  /**
   * Gets the manifest or index that a reference names, by digest if it has one. Its digest is verified; what is in it
   * is the caller's to check.
   */
  async manifest(ref: string | RegistryReference, options: CallOptions = {}): Promise<FetchedManifest> {
    const reference = typeof ref === 'string' ? parseRegistryReference(ref) : ref;
    const wanted = reference.digest ?? reference.tag ?? 'latest';
    const what = `manifest ${wanted} of ${reference.host}/${reference.repository}`;
    return this.#trying(options.signal, async () => {
      const answer = await this.ask(
        reference,
        {
          what,
          path: `/${reference.repository}/manifests/${wanted}`,
          need: reference.digest === undefined ? 'resolve' : 'pull',
          headers: { accept: ACCEPT },
          expect: [200],
        },
        options.signal,
      );
      const type = checkType(answer, what);
      const bytes = await readLimited(answer, MAX_DOCUMENT, what);
      const digest = documentDigest(bytes);
      const told = answer.headers['content-length'];
      if (told !== undefined && Number(told) !== bytes.length) {
        throw new Fault('corrupt', `${what} has ${bytes.length} bytes where ${told} were announced`);
      }
      const claimed = reference.digest ?? answer.headers['docker-content-digest'];
      // Another algorithm than ours says nothing.
      if (typeof claimed === 'string' && claimed.startsWith('sha256:') && claimed !== digest) {
        throw new Fault('corrupt', `${what} is damaged: its content has digest ${digest} instead of ${shown(claimed)}`);
      }
      return { bytes, digest, mediaType: mediaTypeOf(bytes, type, what) };
    });
  }

  /**
   * The bytes of a blob, to be read once. Where a connection breaks, it goes on from there with another one. Size and digest are
   * verified; what was read is only to be trusted when it has come to its end.
   */
  blob(
    ref: string | RegistryReference,
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    options: BlobOptions = {},
  ): AsyncGenerator<Uint8Array> {
    const reference = typeof ref === 'string' ? parseRegistryReference(ref) : ref;
    return readBlob(
      (ask) => this.ask(reference, ask, options.signal),
      { ...descriptor, what: `blob ${descriptor.digest}`, path: `/${reference.repository}/blobs/${descriptor.digest}` },
      { ...options, retry: this.#retry },
    );
  }

  /** All tags of a repository, in the registry's order. @param repository a reference; its tag does not matter */
  async *tags(repository: string, options: CallOptions = {}): AsyncGenerator<string> {
    const reference = parseRegistryReference(repository);
    const what = `the tags of ${reference.host}/${reference.repository}`;
    const first = `/${reference.repository}/tags/list`;
    let path: string | undefined = `${first}?n=1000`;
    const seen = new Set<string>();
    for (let count = 0; path !== undefined;) {
      const at: string = path;
      // A list that leads back to itself would have no end.
      if (seen.size >= MAX_PAGES) throw new LayerfsError('resource-exhausted', `${what}: more than ${MAX_PAGES} pages`);
      if (seen.has(at)) throw new LayerfsError('invalid-argument', `${what}: the list leads back to itself`);
      seen.add(at);
      const { tags, link } = await this.#trying(options.signal, async () => {
        const answer = await this.ask(reference, { what, path: at, need: 'resolve', expect: [200] }, options.signal);
        const bytes = await readLimited(answer, MAX_DOCUMENT, what);
        const tags = parseDocument(bytes, what).stringList('tags', MAX_TAGS) ?? [];
        return { tags, link: answer.headers['link'] };
      });
      count += tags.length;
      if (count > MAX_TAGS) throw new LayerfsError('resource-exhausted', `${what}: more than ${MAX_TAGS}`);
      yield* tags;
      path = nextPage(link, first);
    }
  }

  /**
   * Makes sure that a repository has a blob: nothing is sent where it has, or can take it from another repository. A large one
   * is sent in chunks, and gone on with where a connection breaks, or where an earlier process was interrupted.
   * @param content its bytes from an offset on; called again when it is tried again
   */
  async uploadBlob(
    ref: string | RegistryReference,
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    content: (offset: number) => AsyncIterable<Uint8Array>,
    options: UploadOptions = {},
  ): Promise<Uploaded> {
    const { repository, ...reference } = typeof ref === 'string' ? parseRegistryReference(ref) : ref;
    const { from, memory, onProgress, signal, chunk = CHUNK } = options;
    return uploadBlob(
      (ask) => this.ask({ ...reference, repository }, ask, signal),
      { repository, digest, size, content, from, chunk, memory, onProgress },
      { retry: this.#retry, signal },
    );
  }

  /** Puts a manifest or index, whose blobs the repository must have, under the reference's tag, or else its digest. */
  async putManifest(
    ref: string | RegistryReference,
    manifest: FetchedManifest,
    options: CallOptions = {},
  ): Promise<void> {
    const reference = typeof ref === 'string' ? parseRegistryReference(ref) : ref;
    const target = reference.tag ?? manifest.digest;
    return this.#trying(options.signal, () =>
      putManifest((ask) => this.ask(reference, ask, options.signal), reference.repository, target, manifest),
    );
  }

  /** Lets go of all connections. */
  close(): void {
    for (const connections of this.#connections.values()) for (const connection of connections) connection.close();
    this.#connections.clear();
  }

  /** Asks the places where something may be, one after the other. @throws Fault where it makes sense to try again */
  protected async ask(reference: RegistryReference, ask: Ask, signal: AbortSignal | undefined): Promise<HttpAnswer> {
    const able = this.#connectionsOf(reference.host).filter(
      ({ endpoint }) => endpoint.capabilities.has(ask.need) && !(ask.own === true && endpoint.mirror),
    );
    if (able.length === 0) throw new LayerfsError('not-found', `${reference.host} has no place for ${ask.need}`);
    for (const [i, connection] of able.entries()) {
      try {
        return await connection.ask(reference, ask, signal);
      } catch (error) {
        if (i === able.length - 1 || (error instanceof LayerfsError && error.code === 'aborted')) throw error;
      }
    }
    throw new LayerfsError('internal', 'nobody was asked');
  }

  async #trying<T>(signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
    const backoff = new Backoff(this.#retry);
    for (;;) {
      try {
        return await action();
      } catch (error) {
        if (!(error instanceof Fault)) throw settled(error);
        await backoff.wait(error, signal);
      }
    }
  }

  #connectionsOf(host: string): Connection[] {
    let connections = this.#connections.get(host);
    if (connections === undefined) {
      const { environment = process.env, idle = 60_000, hostFolders, plainHttp, settings = {}, tls } = this.#options;
      const folders = hostFolders ?? HOST_FOLDERS;
      const endpoints = endpointsOf(host, { folders, plainHttp: plainHttp ?? false, tls: tls ?? {}, settings });
      connections = endpoints.map(
        (endpoint) => new Connection(host, endpoint, { credentials: this.#credentials, environment, idle }),
      );
      this.#connections.set(host, connections);
    }
    return connections;
  }
}

/** A web page instead of a manifest: somebody else answers. */
function checkType(answer: HttpAnswer, what: string): string | undefined {
  const type = answer.headers['content-type']?.split(';')[0].trim().toLowerCase();
  if (type === undefined || type === 'application/json' || type === 'application/octet-stream') return undefined;
  if (/^application\/vnd\..*\+(?:json|prettyjws)$/.test(type)) return type;
  void answer.discard();
  throw new LayerfsError('invalid-argument', `${what}: the answer is ${shown(type)}: this is no registry`);
}

/** What a manifest says of itself comes first: it is what the digest covers. */
function mediaTypeOf(bytes: Uint8Array, header: string | undefined, what: string): string {
  const fields = parseDocument(bytes, what);
  const { manifests, layers } = fields.value;
  // Read as the one by some, and as the other by others: CVE-2021-41190.
  if (manifests !== undefined && layers !== undefined) {
    throw fields.invalid('manifests', 'a document that has layers too is neither manifest nor index');
  }
  const own = fields.string('mediaType', 255);
  const type = own ?? header;
  if (type !== undefined && (isIndexType(type) || isManifestType(type))) return type;
  if (own !== undefined && own !== '') return own;
  return manifests === undefined ? MEDIA_TYPE.manifest : MEDIA_TYPE.index;
}

/** The next page of a list (RFC 8288), as far as it is of the same list. */
function nextPage(link: string | string[] | undefined, first: string): string | undefined {
  const target = /<([^>]{1,4096})>\s*;[^,]*rel="?next"?/.exec(String(link ?? ''))?.[1];
  if (target === undefined || !URL.canParse(target, 'http://registry')) return undefined;
  return `${first}${new URL(target, 'http://registry').search}`;
}
