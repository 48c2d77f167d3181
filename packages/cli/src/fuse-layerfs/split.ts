/** How mount options are written: separators, quotes, and backslashes that take away their meaning. */

/**
 * Splits at a separator, but not where a backslash precedes it and not inside double quotes (SELinux labels have
 * commas: `context="a:b:c1,c2"`). Backslashes and quotes stay. Empty pieces are left out.
 */
export function splitOptions(text: string, separator: string): string[] {
  const pieces: string[] = [];
  let piece = '';
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '\\' && i + 1 < text.length) {
      piece += char + text[++i];
    } else if (char === separator && !quoted) {
      if (piece !== '') pieces.push(piece);
      piece = '';
    } else {
      if (char === '"') quoted = !quoted;
      piece += char;
    }
  }
  if (piece !== '') pieces.push(piece);
  return pieces;
}

/** Takes backslashes away, each of which stands for the character behind it. */
export function unescaped(text: string): string {
  return text.replaceAll(/\\(.)/gs, '$1');
}

/** Takes the quotes around a value away. */
export function unquoted(text: string): string {
  return text.length >= 2 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}
