import { writeSync } from 'node:fs';

/** Prints a line on standard output. A closed pipe (`| head`) ends the program quietly. */
export function print(text: string): void {
  write(1, `${text}\n`);
}

/** Prints a line on standard error. */
export function note(text: string): void {
  write(2, `${text}\n`);
}

/** Prints a value as JSON, indented, for machines. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2));
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
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}
