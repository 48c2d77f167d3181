/**
 * JSON documents of untrusted origin: bounded before they are parsed, and read field by field, so that every complaint
 * names the document and the field. The bytes themselves are kept by whoever has them: a digest covers bytes, not values.
 */
import { LayerfsError } from '../error.js';

/** Largest manifest, index or config that is parsed. Registries refuse manifests above this size, too. */
export const MAX_DOCUMENT = 4 << 20;

/** @throws LayerfsError naming the document `what` when it is too large, not UTF-8, not JSON or not an object */
export function parseDocument(bytes: Uint8Array, what: string): Fields {
  return new Fields(asObject(parseJson(bytes, what), what), what);
}

/** As {@link parseDocument}, for a document that is a list of objects. */
export function parseDocumentList(bytes: Uint8Array, what: string, most: number): Fields[] {
  return objectsOf(parseJson(bytes, what), what, most);
}

function parseJson(bytes: Uint8Array, what: string): unknown {
  if (bytes.length > MAX_DOCUMENT) {
    throw invalid(`${what} has ${bytes.length} bytes; more than ${MAX_DOCUMENT} are not accepted`);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw invalid(`${what} is not UTF-8 text`, error);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw invalid(`${what} is not valid JSON`, error);
  }
}

/** A JSON object under a name, with typed access to its fields. `null` counts as absent, as in Go's encoding/json. */
export class Fields {
  readonly what: string;
  readonly value: Readonly<Record<string, unknown>>;

  constructor(value: Readonly<Record<string, unknown>>, what: string) {
    this.value = value;
    this.what = what;
  }

  /** A complaint about one field. */
  invalid(field: string, complaint: string): LayerfsError {
    return invalid(`${this.name(field)}: ${complaint}`);
  }

  /** How messages name a field. */
  name(field: string): string {
    return `${this.what}, field ${field}`;
  }

  string(field: string, most = 4096): string | undefined {
    const value = this.#get(field);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') throw this.invalid(field, 'not a string');
    if (value.length > most) throw this.invalid(field, `longer than ${most} characters`);
    return value;
  }

  requiredString(field: string, most = 4096): string {
    const value = this.string(field, most);
    if (value === undefined || value === '') throw this.invalid(field, 'missing');
    return value;
  }

  /** A whole number of bytes, 0 to 2^53-1. */
  requiredSize(field: string): number {
    const value = this.#get(field);
    if (value === undefined) throw this.invalid(field, 'missing');
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      throw this.invalid(field, `not a size in bytes: ${shown(value)}`);
    }
    return value;
  }

  number(field: string): number | undefined {
    const value = this.#get(field);
    if (value !== undefined && typeof value !== 'number') throw this.invalid(field, 'not a number');
    return value;
  }

  boolean(field: string): boolean | undefined {
    const value = this.#get(field);
    if (value !== undefined && typeof value !== 'boolean') throw this.invalid(field, 'not true or false');
    return value;
  }

  object(field: string): Fields | undefined {
    const value = this.#get(field);
    return value === undefined ? undefined : new Fields(asObject(value, this.name(field)), this.name(field));
  }

  /** A map of strings, such as annotations. */
  strings(field: string): Readonly<Record<string, string>> | undefined {
    const object = this.object(field);
    if (object === undefined) return undefined;
    for (const [key, value] of Object.entries(object.value)) {
      if (typeof value !== 'string') throw object.invalid(shown(key), 'not a string');
    }
    return object.value as Record<string, string>;
  }

  /** A list of objects of at most `most` entries. */
  objects(field: string, most: number): Fields[] | undefined {
    const value = this.#get(field);
    return value === undefined ? undefined : objectsOf(value, this.name(field), most);
  }

  stringList(field: string, most: number): string[] | undefined {
    const value = this.#get(field);
    if (value === undefined) return undefined;
    const list = listOf(value, this.name(field), most);
    for (const entry of list) if (typeof entry !== 'string') throw this.invalid(field, 'not a list of strings');
    return list as string[];
  }

  #get(field: string): unknown {
    return Object.hasOwn(this.value, field) ? (this.value[field] ?? undefined) : undefined;
  }
}

/** A value for a message: short, in one line, without control characters. */
export function shown(value: unknown): string {
  const text = typeof value === 'object' && value !== null ? typeof value : JSON.stringify(value);
  return text === undefined ? 'undefined' : text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

function objectsOf(value: unknown, what: string, most: number): Fields[] {
  return listOf(value, what, most).map((entry, index) => {
    const name = `${what}[${index}]`;
    return new Fields(asObject(entry, name), name);
  });
}

function listOf(value: unknown, what: string, most: number): unknown[] {
  if (!Array.isArray(value)) throw invalid(`${what} is not a list`);
  if (value.length > most) throw invalid(`${what} has ${value.length} entries; more than ${most} are not accepted`);
  return value;
}

function asObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${what} is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

function invalid(message: string, cause?: unknown): LayerfsError {
  return new LayerfsError('invalid-argument', message, cause === undefined ? undefined : { cause });
}
