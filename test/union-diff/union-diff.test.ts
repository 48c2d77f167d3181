/**
 * The writable mount against kernel overlayfs: random operations on both must give the same. Runs `main.ts` in a process of its
 * own (built by npx tsc -b), so that operations which never return end no test run. LAYERFS_DIFF_SEQUENCES in the environment
 * says how many sequences; SEED, SEQUENCES, LENGTH and SUBJECT are as failures print them.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ErrnoError, umount2 } from '@layerfs/linux';
import { missing } from '../support/needs.js';
import { CAPABLE, mountOverlay } from './subjects/kernel.js';
import { layerfsCanWrite } from './subjects/layerfs.js';
import { newArea } from './run/supervise.js';

const PROGRAM = fileURLToPath(new URL('../dist/union-diff/main.js', import.meta.url));
const SEQUENCES = Number(process.env['SEQUENCES'] ?? process.env['LAYERFS_DIFF_SEQUENCES'] ?? 2000);
const MINUTES = 60_000;

function whyNoOverlay(): string | undefined {
  const area = newArea();
  try {
    const [lower, upper, work, merged] = ['l', 'u', 'w', 'm'].map((name) => mkdtempSync(join(area, name)));
    mountOverlay([lower], upper, work, merged, CAPABLE);
    umount2(merged);
    return undefined;
  } catch (error) {
    if (error instanceof ErrnoError) return `cannot mount overlayfs with ${CAPABLE} (${error.code})`;
    throw error;
  } finally {
    rmSync(area, { recursive: true, force: true });
  }
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

function runProgram(signal: AbortSignal, args: string[], env: Record<string, string> = {}): Promise<Ended> {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  signal.addEventListener('abort', () => child.kill());
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}

const reason = missing('root', 'fuse') ?? whyNoOverlay() ?? (existsSync(PROGRAM) ? undefined : 'needs npx tsc -b');
if (reason !== undefined) console.warn(`skipped: random operations on writable mounts: ${reason}`);

describe.skipIf(reason !== undefined)('random operations', () => {
  test('kernel overlayfs does not differ from itself', { timeout: 5 * MINUTES }, async ({ signal }) => {
    const args = ['--subject', 'kernel', '--seed', '1', '--length', '200', '--sequences', '50'];
    const { code, output } = await runProgram(signal, args);
    expect(output).toMatch(/50 sequences, 10000 operations .* no differences/);
    expect(code).toBe(0);
  });

  test(
    'a difference is found, and shrunk to the one operation that shows it',
    { timeout: 5 * MINUTES },
    async ({ signal }) => {
      const { code, output } = await runProgram(signal, ['--subject', 'kernel-without-index', '--sequences', '50']);
      expect(output).toMatch(/shrunk from \d+ operations:\n {4}0 .*\n[^ ]/);
      expect(code).toBe(1);
    },
  );

  test.for([
    ['all served by us', 1, '--no-passthrough'],
    ['large files by passthrough', 1 / 5, ''],
    ['8 processes at once', 1 / 20, '', '--concurrent'],
  ] as [string, number, string, ...string[]][])(
    'on layerfs give what they give on overlayfs, %s',
    { timeout: 30 * MINUTES },
    async ([, share, mountOptions, ...args], context) => {
      const sequences = String(Math.ceil(SEQUENCES * share));
      const subject = process.env['SUBJECT'] ?? 'layerfs';
      if (subject === 'layerfs' && !layerfsCanWrite()) {
        console.warn(`skipped: ${context.task.name}: this layerfs has no writable mount`);
        context.skip('this layerfs has no writable mount');
      }
      const { code, output } = await runProgram(
        context.signal,
        ['--subject', subject, '--sequences', sequences, ...args],
        { LAYERFS_DIFF_MOUNT: mountOptions },
      );
      expect(`${output}ended with ${String(code)}`).toMatch(/no differences\nended with 0$/);
    },
  );
});
