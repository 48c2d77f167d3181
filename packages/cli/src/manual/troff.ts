/** Pieces of a manual page in the man(7) macros. */

/** Text as it stands: nothing in it is a request, a macro or an escape, and a dash is what one types. */
export function escaped(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '...')
    .replace(/^(?=[.'])/gm, '\\&');
}

/** A macro's argument. */
function quoted(text: string): string {
  return `"${escaped(text).replaceAll('"', '\\(dq')}"`;
}

export const header = (name: string, section: number, version: string): string =>
  `.TH ${quoted(name.toUpperCase())} ${section} "" ${quoted(`layerfs ${version}`)}`;

export const section = (title: string): string => `.SH ${quoted(title)}`;

export const subsection = (title: string): string => `.SS ${quoted(title)}`;

/** A term in bold, and what it means. */
export const entry = (term: string, meaning: string): string => `.TP\n.B ${quoted(term)}\n${escaped(meaning)}`;

/** Text whose indented lines are shown as they are, and whose other lines are filled. */
export function prose(text: string): string {
  const lines = text.trim().split('\n');
  const out: string[] = [];
  let verbatim = false;
  for (const line of lines) {
    const shown = /^\s+\S/.test(line);
    if (shown !== verbatim) out.push(shown ? '.PP\n.nf\n.RS 4' : '.RE\n.fi\n.PP');
    verbatim = shown;
    out.push(line.trim() === '' ? '.PP' : escaped(shown ? line.slice(2) : line));
  }
  if (verbatim) out.push('.RE\n.fi');
  // No two paragraphs' beginnings in a row.
  return out.join('\n').replace(/(\.PP\n)+(?=\.PP\n)/g, '');
}
