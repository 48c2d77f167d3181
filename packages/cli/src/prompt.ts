/** Questions on a terminal. */
import { LayerfsError } from 'layerfs/registry';

const MOST = 64 << 10;

/** All of standard input as a text, without the line's end. @throws LayerfsError for more than 64 KiB */
export async function readInput(): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > MOST) throw new LayerfsError('invalid-argument', `standard input has more than ${MOST} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}

/**
 * Asks for a line on the terminal.
 * @param secret what is typed is not shown
 * @throws LayerfsError aborted for Ctrl-C
 */
export function ask(question: string, secret: boolean, signal: AbortSignal): Promise<string> {
  const { stdin, stderr } = process;
  // First, or the terminal would show what is typed at once.
  stdin.setEncoding('utf8').setRawMode(true).resume();
  stderr.write(question);
  let text = '';
  return new Promise<string>((resolve, reject) => {
    const end = (finish: () => void): void => {
      stdin.off('data', typed).setRawMode(false).pause();
      signal.removeEventListener('abort', stop);
      stderr.write('\n');
      finish();
    };
    const stop = (): void => end(() => reject(new LayerfsError('aborted', 'interrupted')));
    const typed = (piece: string): void => {
      for (const char of piece) {
        if (char === '\r' || char === '\n' || char === '\u0004') return end(() => resolve(text));
        if (char === '\u0003') return stop();
        if (char === '\u007f' || char === '\b') {
          if (!secret && text !== '') stderr.write('\b \b');
          text = Array.from(text).slice(0, -1).join('');
        } else if (char >= ' ' && text.length < MOST) {
          text += char;
          if (!secret) stderr.write(char);
        }
      }
    };
    stdin.on('data', typed);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
}
