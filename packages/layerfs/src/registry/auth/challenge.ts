/** WWW-Authenticate headers (RFC 9110, 11.6.1): which ways of proving who one is a server takes. */

/** One way, with what the server says about it. */
export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

const MOST = 8192;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;

/** Parses a header; what cannot be understood is left out. */
export function parseChallenges(header: string | undefined): Challenge[] {
  const text = (header ?? '').slice(0, MOST);
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  while (at < text.length) {
    match(/[\s,]*/y);
    const word = match(TOKEN)?.[0];
    if (word === undefined) {
      at++;
      continue;
    }
    match(/[ \t]*/y);
    if (text[at] === '=' && challenges.length > 0) {
      at++;
      match(/[ \t]*/y);
      const value = match(QUOTED)?.[1].replace(/\\(.)/g, '$1') ?? match(/[^\s,]*/y)?.[0] ?? '';
      challenges.at(-1)?.parameters.set(word.toLowerCase(), value);
    } else {
      challenges.push({ scheme: word.toLowerCase(), parameters: new Map() });
    }
  }
  return challenges;
}
