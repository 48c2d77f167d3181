import { writeSync } from 'node:fs';

// Control characters and direction marks, which would let an image steer the terminal that shows it; line ends and tabs
// stay.
const UNSAFE = /(?![\t\n])[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

const escapeAs = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Text that is safe to show: what could steer a terminal is escaped. */
export function safeText(text: string): string {
  return text.replace(UNSAFE, escapeAs);
}

/** A value as JSON in which nothing can steer a terminal. */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(UNSAFE, escapeAs);
}

/** Prints a line on standard output. A closed pipe (`| head`) ends the program quietly. */
export function print(text: string): void {
  write(1, `${safeText(text)}\n`);
}

/** Prints a line on standard error. */
export function note(text: string): void {
  write(2, `${safeText(text)}\n`);
}

/** Prints a value as JSON, indented, for machines. */
export function printJson(value: unknown): void {
  write(1, `${safeJson(value, 2)}\n`);
}

function write(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') process.exit(0);
      if (code !== 'EAGAIN') throw error;
      // The pipe is full and does not block: its reader needs a moment.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}
