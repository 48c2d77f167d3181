/** What cases expect of calls. */
import { strict as assert } from 'node:assert';
import { ErrnoError, errno, errnoCode } from '@layerfs/linux';
import { check, native } from '../../../packages/linux/dist/library.js';
import { Skip } from './family.js';

export type Code = keyof typeof errno;

/** What became of a call: `undefined` when it succeeded, or the name of its errno. */
export function outcome(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof ErrnoError) return errnoCode(error.errno);
    throw error;
  }
}

/** Runs a call, and skips the case where the filesystem answers that it has no such thing. */
export function unlessUnsupported<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof ErrnoError && error.errno === errno.EOPNOTSUPP) throw new Skip(`no ${what} here`);
    throw error;
  }
}

/** The call must fail with one of these. */
export function expectErrno(codes: Code | readonly Code[], run: () => unknown, what = ''): void {
  const wanted = typeof codes === 'string' ? [codes] : codes;
  const got = outcome(run);
  // Two names may stand for one number (EWOULDBLOCK, EAGAIN).
  if (wanted.some((code) => errnoCode(errno[code]) === got)) return;
  assert.fail(`${what === '' ? '' : `${what}: `}expected ${wanted.join(' or ')}, got ${got ?? 'success'}`);
}

/** Each of these calls must fail with this errno; all that do not are told together. */
export function expectEach(code: Code, calls: Readonly<Record<string, () => unknown>>): void {
  const wrong = Object.entries(calls)
    .map(([name, run]) => [name, outcome(run) ?? 'success'])
    .filter(([, got]) => got !== errnoCode(errno[code]))
    .map(([name, got]) => `${name}: ${got}`);
  assert.equal(wrong.join(', '), '', `expected ${code} of all`);
}

/** Two numbers as octal, which is how modes are read. */
export function expectMode(actual: number, expected: number, what = 'mode'): void {
  assert.equal(actual.toString(8), expected.toString(8), what);
}

/** A moment of the last seconds; a second of slack, as clocks of kernel and process are not the same one. */
export function expectRecent(time: bigint, what: string): void {
  const now = BigInt(Date.now()) * 1_000_000n;
  const age = now - time;
  assert.ok(age > -1_000_000_000n && age < 3_000_000_000n, `${what} is ${String(age)} ns old`);
}

const cell = new Int32Array(new SharedArrayBuffer(4));

/** Waits without giving up the thread. */
export function sleepSync(milliseconds: number): void {
  Atomics.wait(cell, 0, 0, milliseconds);
}

const clockGetres = native('int clock_getres(int clock, void *resolution)');
const CLOCK_REALTIME_COARSE = 5;

/** How long a tick of the kernel's clock for time stamps takes, in milliseconds. */
function tickLength(): number {
  const bytes = Buffer.alloc(16);
  check(clockGetres(CLOCK_REALTIME_COARSE, bytes), 'clock_getres');
  return Number(bytes.readBigInt64LE(8)) / 1e6;
}

/** Waits until a new time stamp is sure to differ from one taken before. */
export function nextTick(): void {
  sleepSync(Math.ceil(tickLength()) + 2);
}
