import { LayerfsError } from '../../core/error.js';
import type { HttpAnswer } from './transport.js';

/** Milliseconds that a small body may take, and the beginning of one: a server that sends a byte now and then has no end. */
const LONGEST = { all: 600_000, beginning: 10_000 } as const;

/** Reads a body that must be small. @throws LayerfsError resource-exhausted before more than `most` bytes are in memory */
export async function readLimited(answer: HttpAnswer, most: number, what: string): Promise<Uint8Array> {
  const told = answer.headers['content-length'];
  if (told !== undefined && Number(told) > most) {
    await answer.discard();
    throw tooLarge(what, Number(told), most);
  }
  const pieces: Uint8Array[] = [];
  let size = 0;
  const timer = setTimeout(() => answer.giveUp(), LONGEST.all);
  try {
    for await (const piece of answer.body) {
      size += piece.length;
      if (size > most) throw tooLarge(what, size, most);
      pieces.push(piece);
    }
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(pieces);
}

/** The beginning of a body, for a message; whatever goes wrong with it says nothing. */
export async function readBeginning(answer: HttpAnswer): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  const timer = setTimeout(() => answer.giveUp(), LONGEST.beginning);
  try {
    for await (const piece of answer.body) {
      pieces.push(piece);
      size += piece.length;
      if (size >= 4096) break;
    }
  } catch {
    return Buffer.concat(pieces);
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(pieces);
}

function tooLarge(what: string, size: number, most: number): LayerfsError {
  return new LayerfsError('resource-exhausted', `${what} has ${size} bytes; more than ${most} are not accepted`);
}
