import { LayerfsError } from 'layerfs';
import { RE2JS } from 're2js';
import type { SnapshotInfo } from './snapshotter.js';

/**
 * containerd's filter language (pkg/filters/parser.go): a filter is a list of selectors, all of which must hold; of several
 * filters one must.
 *
 *     selectors := selector ("," selector)*
 *     selector  := fieldpath (operator value)?
 *     fieldpath := field ("." field)*
 *     field     := quoted | [A-Za-z] [A-Za-z0-9_]*
 *     operator  := "==" | "!=" | "~="
 *     value     := quoted | [^\s,]+
 *     quoted    := a Go string; behind "~=" also /…/ and |…|
 *
 * Fields are `kind`, `name`, `parent` and `labels.KEY`; without operator a field has to be there and not be empty.
 */
export type Filter = (info: SnapshotInfo) => boolean;

/** Bytes of all filters of one request together. */
const MAX_LENGTH = 64 * 1024;
/** A client could else keep the service busy with one expression. */
const MAX_EXPRESSION = 4096;

/** One filter out of several texts: what passes any of them passes; without any everything does. @throws LayerfsError invalid-argument */
export function parseFilters(texts: readonly string[]): Filter {
  if (texts.reduce((sum, text) => sum + text.length, 0) > MAX_LENGTH) throw bad('is too long', 0, '');
  if (texts.length === 0) return () => true;
  const filters = texts.map((text) => parse(text));
  return (info) => filters.some((filter) => filter(info));
}

function parse(text: string): Filter {
  if (text === '') return () => true;
  const parser = new Parser(text);
  const selectors = [parser.selector()];
  while (!parser.atEnd) {
    parser.expect(',');
    selectors.push(parser.selector());
  }
  return (info) => selectors.every((selector) => selector(info));
}

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  expect(char: string): void {
    if (this.#text[this.#at] !== char) throw this.#bad(`wants "${char}"`);
    this.#at++;
  }

  selector(): Filter {
    const path = [this.#field()];
    while (this.#text[this.#at] === '.') {
      this.#at++;
      path.push(this.#field());
    }
    const operator = this.#text.slice(this.#at, this.#at + 2);
    if (operator !== '==' && operator !== '!=' && operator !== '~=') {
      if (!this.atEnd && this.#text[this.#at] !== ',') throw this.#bad('wants ==, !=, ~= or ","');
      return (info) => (field(info, path) ?? '') !== '';
    }
    this.#at += 2;
    const start = this.#at;
    const value = this.#value(operator === '~=');
    if (operator === '==') return (info) => field(info, path) === value;
    if (operator === '!=') return (info) => (field(info, path) ?? '') !== value;
    const expression = this.#expression(value, start);
    return (info) => expression.test(field(info, path) ?? '');
  }

  #expression(value: string, at: number): RE2JS {
    if (value.length > MAX_EXPRESSION) throw bad('has too long an expression', at, this.#text);
    try {
      return RE2JS.compile(value);
    } catch (error) {
      throw bad(`has a bad expression (${(error as Error).message})`, at, this.#text);
    }
  }

  #field(): string {
    const char = this.#text[this.#at];
    if (char === '"' || char === '`') return this.#quoted(char);
    const match = /[A-Za-z][A-Za-z0-9_]*/y;
    match.lastIndex = this.#at;
    const found = match.exec(this.#text)?.[0];
    if (found === undefined) throw this.#bad('wants a field');
    this.#at += found.length;
    return found;
  }

  #value(isExpression: boolean): string {
    const char = this.#text[this.#at];
    if (char === '"' || char === '`') return this.#quoted(char);
    if (isExpression && (char === '/' || char === '|')) return this.#delimited(char);
    const match = /[^\s,]+/y;
    match.lastIndex = this.#at;
    const found = match.exec(this.#text)?.[0];
    if (found === undefined) throw this.#bad('wants a value');
    this.#at += found.length;
    return found;
  }

  /** `/…/` or `|…|`: only the delimiter itself is escaped. */
  #delimited(delimiter: string): string {
    let value = '';
    for (let at = this.#at + 1; at < this.#text.length; at++) {
      const char = this.#text[at];
      if (char === delimiter) {
        this.#at = at + 1;
        return value;
      }
      if (char === '\\' && this.#text[at + 1] === delimiter) value += this.#text[++at];
      else value += char;
    }
    throw this.#bad('has no closing quote');
  }

  /** A Go string literal: interpreted in double quotes, raw in backquotes. */
  #quoted(quote: string): string {
    let value = '';
    for (let at = this.#at + 1; at < this.#text.length; at++) {
      const char = this.#text[at];
      if (char === quote) {
        this.#at = at + 1;
        return value;
      }
      if (char !== '\\' || quote === '`') {
        value += char;
        continue;
      }
      const { text, length } = this.#escape(at + 1);
      value += text;
      at += length;
    }
    throw this.#bad('has no closing quote');
  }

  #escape(at: number): { readonly text: string; readonly length: number } {
    const simple = SIMPLE.get(this.#text[at]);
    if (simple !== undefined) return { text: simple, length: 1 };
    const match = /x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})/y;
    match.lastIndex = at;
    const found = match.exec(this.#text);
    if (found === null) throw this.#bad('has a bad escape');
    const [text, x, u, U, octal] = found as unknown as [string, ...(string | undefined)[]];
    const hex = x ?? u ?? U;
    const code = hex === undefined ? Number.parseInt(octal ?? '', 8) : Number.parseInt(hex, 16);
    if (code > 0x10ffff) throw this.#bad('has a bad escape');
    return { text: String.fromCodePoint(code), length: text.length };
  }

  #bad(what: string): LayerfsError {
    return bad(what, this.#at, this.#text);
  }
}

const SIMPLE: ReadonlyMap<string | undefined, string> = new Map([
  ['a', '\u0007'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
  ['\\', '\\'],
  ["'", "'"],
  ['"', '"'],
]);

function field(info: SnapshotInfo, [name, ...rest]: readonly string[]): string | undefined {
  if (name === 'labels') {
    const key = rest.join('.');
    return Object.hasOwn(info.labels, key) ? info.labels[key] : undefined;
  }
  if (rest.length > 0) return undefined;
  if (name === 'kind') return info.kind;
  if (name === 'name') return info.name;
  // A base's is empty: containerd asks for that when it looks for the base of a remote image.
  return name === 'parent' ? (info.parent ?? '') : undefined;
}

function bad(what: string, at: number, text: string): LayerfsError {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  return new LayerfsError('invalid-argument', `filter ${JSON.stringify(shown)} ${what} at ${at}`);
}
