import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RequestProfile, type OpcodeProfile } from './profile.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-profile-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** What a server does between two requests. */
function spendTime(): number {
  let sum = 0;
  for (const end = performance.now() + 30; performance.now() < end;) sum += Math.sqrt(sum + 1);
  return sum;
}

it('counts requests by opcode, and says in which functions the time went', () => {
  const file = join(folder, 'profile');
  const profile = new RequestProfile(file);
  const request = { opcode: 'LOOKUP', nodeid: 1, name: 'x', errno: 0, bytes: 144 };
  for (let i = 1; i <= 1000; i++) profile.record({ ...request, micros: i });
  profile.record({ ...request, opcode: 'OPEN', micros: 0, errno: 30, bytes: 16 });
  spendTime();
  profile.close();
  const { opcodes } = JSON.parse(readFileSync(file, 'utf8')) as { opcodes: Record<string, OpcodeProfile> };
  expect(Object.keys(opcodes)).toEqual(['LOOKUP', 'OPEN']);
  expect(opcodes['LOOKUP']).toMatchObject({ count: 1000, errors: 0, bytes: 144_000 });
  expect(opcodes['OPEN']).toMatchObject({ count: 1, errors: 1, bytes: 16 });
  const { percentiles, minimum, maximum, mean } = opcodes['LOOKUP'];
  // Three digits are kept.
  for (const [value, expected] of [
    [percentiles['50'], 500],
    [percentiles['99'], 990],
    [percentiles['99.9'], 999],
    [minimum, 1],
    [maximum, 1000],
    [mean, 500.5],
  ]) {
    expect(Math.abs(value / expected - 1)).toBeLessThan(0.002);
  }
  const sampled = JSON.parse(readFileSync(`${file}.cpuprofile`, 'utf8')) as {
    nodes: { callFrame: { functionName: string } }[];
  };
  expect(sampled.nodes.map(({ callFrame }) => callFrame.functionName)).toContain('spendTime');
});

it('says at once that a file cannot be written', () => {
  expect(() => new RequestProfile(join(folder, 'missing/profile'))).toThrow(/ENOENT/);
});
