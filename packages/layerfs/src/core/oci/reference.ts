/**
 * Image names, by Docker's rules (distribution/reference): `[host[:port]/]path[:tag][@digest]`.
 *
 * Names are kept in the form Docker shows them: `docker.io/library/debian` is `debian`, `docker.io/user/app` is `user/app`;
 * all other hosts stay. A name without a tag and digest means `:latest`.
 */
import { isDigest, type Digest } from '../digest.js';
import { LayerfsError } from '../error.js';
import { namedDigest } from './descriptor.js';
import { shown } from './json.js';

/** A parsed image name. `name` holds no tag and no digest. */
export interface Reference {
  readonly name: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*$/;
const HOST =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const HUB = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/**
 * Parses a name as a person types it; a name alone gets the tag `latest`.
 * @throws LayerfsError invalid-argument saying which part is wrong
 */
export function parseReference(text: string): Reference {
  if (text === '') throw bad(text, 'it is empty');
  if (text.length > 1024) throw bad(text, 'it is too long');
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    digest = namedDigest(rest.slice(at + 1), `image name ${shown(text)}`);
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/') && !(rest.startsWith('[') && !rest.includes('/'))) {
    tag = rest.slice(colon + 1);
    if (!TAG.test(tag)) throw bad(text, `${shown(tag)} is no tag: letters, digits, '_', '.' and '-', at most 128`);
    rest = rest.slice(0, colon);
  }
  const name = familiarName(rest, text);
  if (tag === undefined && digest === undefined) tag = 'latest';
  return { name, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/** The text of a reference: `name[:tag][@digest]`. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${reference.name}${tag}${digest}`;
}

/**
 * A name to store an image under: name and tag, no digest.
 * @throws LayerfsError invalid-argument as {@link parseReference}, and for a name with a digest
 */
export function parseImageName(text: string): string {
  const reference = parseReference(text);
  if (reference.digest !== undefined) throw bad(text, 'a digest cannot be chosen as a name');
  return formatReference(reference);
}

/** Whether a text can only be an image ID: hex digits, or `sha256:` and hex digits. */
export function idPrefix(text: string): string | undefined {
  const match = /^(?:sha256:)?([0-9a-f]{4,64})$/.exec(text);
  return match?.[1];
}

/** Makes the last part of a file name into a valid image name: `My Image.tar.gz` gives `my-image`. Undefined if nothing is left. */
export function nameFromFile(file: string): string | undefined {
  const base = file
    .toLowerCase()
    .replace(/(?:\.(?:oci|docker))?\.(?:tar|tgz|tzst)(?:\.(?:gz|zst|zstd))?$/, '')
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/[._-]*([._-])[._-]*/g, '$1')
    .replace(/^[._-]+|[._-]+$/g, '');
  return COMPONENT.test(base) && base.length <= 128 && !/^[0-9a-f]{64}$/.test(base) ? base : undefined;
}

function familiarName(name: string, text: string): string {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const hasHost = slash >= 0 && (/[.:[]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  const host = hasHost ? first : 'docker.io';
  let path = hasHost ? name.slice(slash + 1) : name;
  if (!HOST.test(host)) throw bad(text, `${shown(host)} is no host name`);
  for (const component of path.split('/')) {
    if (COMPONENT.test(component)) continue;
    if (component === '') throw bad(text, 'a part between slashes is empty');
    if (component !== component.toLowerCase()) throw bad(text, 'names are lower-case');
    throw bad(text, `${shown(component)} may hold a-z, 0-9 and single '.', '_' or '-' between them`);
  }
  if (name.length > 255) throw bad(text, 'the name is longer than 255 characters');
  if (/^[0-9a-f]{64}$/.test(name)) throw bad(text, '64 hex digits are an ID, not a name');
  if (!HUB.has(host.toLowerCase())) return `${host}/${path}`;
  if (path.startsWith('library/')) path = path.slice(8);
  return path;
}

function bad(text: string, why: string): LayerfsError {
  const hint = isDigest(text) ? ' (a digest alone names an image already in the store)' : '';
  return new LayerfsError('invalid-argument', `not an image name: ${shown(text)}: ${why}${hint}`);
}
