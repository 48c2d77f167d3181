import { LayerfsError } from 'layerfs';
import { describe, expect, test } from 'vitest';
import { hostRoot, idMapsOf } from './id-maps.js';
import { maxSizeOf } from './quota.js';

const UIDS = 'containerd.io/snapshot/uidmapping';
const GIDS = 'containerd.io/snapshot/gidmapping';
const SIZE = 'containerd.io/snapshot/max-size';

function refusal(action: () => unknown): LayerfsError {
  try {
    action();
  } catch (error) {
    if (error instanceof LayerfsError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('owners', () => {
  test('are as they are without labels', () => expect(idMapsOf({ other: '0:1:2' })).toBeUndefined());

  test.each([
    ['0:100000:65536', 100_000],
    ['1000:7:1,0:100000:1000', 100_000],
    ['5:5:0,0:3:1', 3],
  ])('%s', (uids, uid) => {
    const maps = idMapsOf({ [UIDS]: uids, [GIDS]: '0:5:1' });
    expect(maps).toEqual({ uids, gids: '0:5:1' });
    expect(hostRoot(maps!)).toEqual({ uid, gid: 5 });
  });

  test.each([
    '',
    '0',
    '0:0',
    '0:0:0',
    ':0:0:1',
    '0:0:1,',
    '0:0:1:0:0:1',
    '-1:0:1',
    '0:0:1\n',
    '0:4294967295:1',
    '0:0:4294967296',
    '0:0:10,5:100:10',
    '0:0:10,50:5:10',
    Array.from({ length: 341 }, (_, i) => `${i}:${i}:1`).join(),
    'x'.repeat(4000),
  ])('%j is refused', (value) => {
    for (const [bad, labels] of [
      [UIDS, { [UIDS]: value, [GIDS]: '0:5:1' }],
      [GIDS, { [GIDS]: value, [UIDS]: '0:5:1' }],
    ] as const) {
      const { code, message } = refusal(() => idMapsOf(labels));
      expect(code).toBe('invalid-argument');
      expect(message).toContain(`The label ${bad}`);
      expect(message.length).toBeLessThan(400);
    }
  });

  test('of users alone, or of groups, are refused', () => {
    expect(refusal(() => idMapsOf({ [UIDS]: '0:1:1' })).message).toBe(`The label ${UIDS} needs ${GIDS} beside it`);
    expect(refusal(() => idMapsOf({ [GIDS]: '0:1:1' })).message).toBe(`The label ${GIDS} needs ${UIDS} beside it`);
  });

  test('a root that is nobody is refused where it has to be somebody', () => {
    expect(refusal(() => hostRoot({ uids: '1:1:1', gids: '0:0:1' })).message).toContain('does not map the id 0');
  });
});

describe('size', () => {
  test('is bytes in decimal', () => {
    expect(maxSizeOf({})).toBeUndefined();
    expect(maxSizeOf({ [SIZE]: '1048576' })).toBe(1_048_576);
    expect(maxSizeOf({ [SIZE]: '9007199254740991' })).toBe(Number.MAX_SAFE_INTEGER);
  });

  test.each(['', '0', '-1', '1G', '1e3', ' 1', '0x10', '9007199254740992', '9'.repeat(3000)])(
    '%j is refused',
    (value) => {
      const { code, message } = refusal(() => maxSizeOf({ [SIZE]: value }));
      expect(code).toBe('invalid-argument');
      expect(message).toContain(SIZE);
    },
  );
});
