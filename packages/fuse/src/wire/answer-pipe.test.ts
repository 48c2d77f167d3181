import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { close, errno, pipe, readRaw, setPipeSize } from '@layerfs/linux';
import { AnswerPipe } from './answer-pipe.js';
import { Reply } from './reply.js';

const LARGE = 128 << 10;
/** Beyond what 32 bits hold. */
const FAR = 5 * 2 ** 30 + 12_345;
const HEADER = 16;

const content = randomBytes(LARGE);
let folder: string;
/** Has the content at 100, at FAR, and ends there. */
let file: number;
/** In place of /dev/fuse. */
let device: [number, number];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-answer-pipe-'));
  device = pipe();
  setPipeSize(device[1], 1 << 20);
});
afterAll(() => {
  closeSync(file);
  for (const fd of device) close(fd);
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  if (file !== undefined) closeSync(file);
  file = openSync(join(folder, 'object'), 'w+');
  for (const at of [100, FAR]) writeSync(file, content, 0, LARGE, at);
});

/** What the device got, up to `most` bytes. */
function received(most = 1 << 20): Buffer {
  const bytes = Buffer.alloc(most);
  let length = 0;
  for (let n = 0; (n = readRaw(device[0], bytes.subarray(length), most - length)) > 0;) length += n;
  return bytes.subarray(0, length);
}

/** How many pipes this process has open. */
function pipes(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:');
    } catch {
      // The folder that is being listed.
      return false;
    }
  }).length;
}

describe('AnswerPipe', () => {
  const header = Buffer.from('sixteen bytes...and more');

  it.each([100, FAR])('takes header and content at %i to the device', (offset) => {
    const answers = new AnswerPipe();
    expect(answers.fill(header, HEADER, file, offset, LARGE)).toBe(true);
    expect(answers.send(device[1], HEADER + LARGE)).toBe(HEADER + LARGE);
    expect(received().equals(Buffer.concat([header.subarray(0, HEADER), content]))).toBe(true);
    answers.close();
  });

  it('leaves what is small, and what is larger than it, to others', () => {
    const [before, answers] = [pipes(), new AnswerPipe(LARGE)];
    expect(answers.fill(header, HEADER, file, 100, 4096)).toBe(false);
    expect(pipes()).toBe(before);
    expect(answers.fill(header, HEADER, file, 100, LARGE)).toBe(false);
    answers.close();
    expect(pipes()).toBe(before);
  });

  it('says no to a file that ends too early, or cannot be read, and keeps nothing of it', () => {
    const [before, answers] = [pipes(), new AnswerPipe()];
    const writeOnly = openSync(join(folder, 'object'), 'a');
    expect(answers.fill(header, HEADER, file, FAR + 1, LARGE)).toBe(false);
    expect(answers.fill(header, HEADER, file, FAR + LARGE, LARGE)).toBe(false);
    expect(answers.fill(header, HEADER, writeOnly, 100, LARGE)).toBe(false);
    closeSync(writeOnly);
    expect(answers.fill(header, HEADER, file, 100, LARGE)).toBe(true);
    expect(answers.send(device[1], HEADER + LARGE)).toBe(HEADER + LARGE);
    expect(received().subarray(HEADER).equals(content)).toBe(true);
    answers.close();
    expect(pipes()).toBe(before);
  });

  it('takes a smaller pipe where one that large may not be had', () => {
    const answers = new AnswerPipe(2 ** 32 - 4096);
    expect(answers.fill(header, HEADER, file, 100, LARGE)).toBe(true);
    expect(answers.send(device[1], HEADER + LARGE)).toBe(HEADER + LARGE);
    expect(received().length).toBe(HEADER + LARGE);
    answers.close();
  });

  it('is empty after a device refused', () => {
    const answers = new AnswerPipe();
    expect(answers.fill(header, HEADER, file, 100, LARGE)).toBe(true);
    expect(answers.send(device[0], HEADER + LARGE)).toBe(-errno.EBADF);
    expect(answers.fill(header, HEADER, file, FAR, LARGE)).toBe(true);
    expect(answers.send(device[1], HEADER + LARGE)).toBe(HEADER + LARGE);
    expect(received().length).toBe(HEADER + LARGE);
    answers.close();
  });
});

describe('Reply.readFrom with a pipe', () => {
  /** Answers and sends; what the device got: the error and the content. */
  function ask(reply: Reply, answer: () => void): { error: number; content: Buffer } {
    reply.begin(7, 9);
    answer();
    expect(reply.sendTo(device[1])).toBe(reply.length);
    const bytes = received();
    expect([bytes.readUInt32LE(0), bytes.readUInt32LE(8), bytes.readUInt32LE(12)]).toEqual([bytes.length, 7, 9]);
    return { error: bytes.readInt32LE(4), content: bytes.subarray(HEADER) };
  }

  it('answers the same as without one, whatever the file has', () => {
    const [answers, before] = [new AnswerPipe(), pipes()];
    const [reply, plain] = [new Reply(1 << 20, undefined, undefined, answers), new Reply(1 << 20)];
    for (const [offset, length] of [
      [100, LARGE],
      [FAR, LARGE],
      [FAR + 5, LARGE],
      [FAR + LARGE, LARGE],
      [100, 4096],
      [0, 512 << 10],
      [100, 64 << 10],
    ]) {
      const answer = ask(reply, () => reply.readFrom(file, offset, length));
      const same = ask(plain, () => plain.readFrom(file, offset, length));
      expect([answer.error, answer.content.equals(same.content)]).toEqual([same.error, true]);
      expect(answer.content.length).toBe(Math.max(0, Math.min(length, FAR + LARGE - offset)));
    }
    answers.close();
    expect(pipes()).toBe(before);
  });

  it('sends an error instead, when that is answered after all, and the next answer whole', () => {
    const answers = new AnswerPipe();
    const reply = new Reply(1 << 20, undefined, undefined, answers);
    const refused = ask(reply, () => {
      reply.readFrom(file, 100, LARGE);
      reply.error(errno.EIO);
    });
    expect(refused).toEqual({ error: -errno.EIO, content: Buffer.alloc(0) });
    const next = ask(reply, () => reply.readFrom(file, FAR, LARGE / 2));
    expect(next.content.equals(content.subarray(0, LARGE / 2))).toBe(true);
    // Answered, and never sent.
    reply.begin(1, 2);
    reply.readFrom(file, 100, LARGE);
    expect(ask(reply, () => reply.readFrom(file, FAR, LARGE)).content.equals(content)).toBe(true);
    answers.close();
  });

  it('takes the plain way when the device refuses, and gives EIO for what was cut meanwhile', () => {
    const refusing = new AnswerPipe();
    refusing.send = () => {
      refusing.close();
      return -errno.ENOMEM;
    };
    const reply = new Reply(1 << 20, undefined, undefined, refusing);
    expect(ask(reply, () => reply.readFrom(file, 100, LARGE)).content.equals(content)).toBe(true);
    const cut = ask(reply, () => {
      reply.readFrom(file, FAR, LARGE);
      ftruncateSync(file, FAR + 10);
    });
    expect(cut).toEqual({ error: -errno.EIO, content: Buffer.alloc(0) });
  });
});
