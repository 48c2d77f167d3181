/** The comparer itself: equal trees are equal, and each kind of difference, planted by other programs, is found. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing, need } from '../support/needs.js';
import { compareFolders, type Difference } from './compare.js';

const lacking = missing('getfattr', 'setfattr');
if (lacking !== undefined) console.warn(`skipped: the comparer's own tests: ${lacking}`);

const ROOT = process.getuid?.() === 0;
const work = mkdtempSync(join(tmpdir(), 'layerfs-compare-'));
const left = join(work, 'left');

function sh(script: string, cwd = work): void {
  execFileSync('sh', ['-ec', script], { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
}

async function differencesAfter(change: string): Promise<Difference[]> {
  const right = join(work, 'right');
  rmSync(right, { recursive: true, force: true });
  sh(`cp -a left right`);
  sh(change, right);
  return (await compareFolders(left, right)).unexplained;
}

const PLANTED: [change: string, path: string, field: string][] = [
  ['touch added && touch -r ../left .', 'added', 'exists'],
  ['rm fifo && touch -r ../left .', 'fifo', 'exists'],
  ['rm empty && mkdir empty && chmod 644 empty && touch -r ../left/empty empty', 'empty', 'type'],
  ['chmod u+s one', 'one', 'mode'],
  ['echo texT > folder/file && touch -r ../left/folder/file folder/file', 'folder/file', 'content'],
  ['echo more >> folder/file && touch -r ../left/folder/file folder/file', 'folder/file', 'size'],
  ['touch -d @1000.500000001 folder', 'folder', 'mtime'],
  ['ln -sfn two link && touch -h -d @1000.5 link', 'link', 'target'],
  ['cp -p one x && mv -f x two && touch -r ../left .', 'one', 'group'],
  ['setfattr -x user.a folder', 'folder', 'xattrs'],
  ['setfattr -n user.a -v 2 folder', 'folder', 'xattrs'],
  [
    `printf y > "$(printf 'bytes-\\377')" && touch -r "$(printf '../left/bytes-\\377')" bytes*`,
    'bytes-\xff',
    'content',
  ],
];

describe.skipIf(lacking !== undefined)('the comparer', () => {
  beforeAll(() => {
    mkdirSync(left);
    sh(
      `mkdir -p folder/inner; echo text > folder/file; : > empty; echo linked > one; ln one two; ln -s one link
     mkfifo fifo; printf x > "$(printf 'bytes-\\377')"; printf '%s' "a'b" > 'new
line'; setfattr -n user.a -v 1 folder; touch -h -d @1000.5 link folder/file folder`,
      left,
    );
    if (ROOT) sh('mknod null c 1 3; setfattr -n trusted.t -v x -h link', left);
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  test('an exact copy has no difference', async () => {
    expect(await differencesAfter('true')).toEqual([]);
  });

  test.each(PLANTED)('finds what is changed by: %s', async (change, path, field) => {
    expect(await differencesAfter(change)).toContainEqual(expect.objectContaining({ path, field }));
  });

  test('finds changed owners, device numbers and xattrs of symbolic links', async (context) => {
    need(context, 'root');
    const change =
      'chown -h 5:6 link; setfattr -n trusted.t -v x -h link; rm null; mknod null c 1 5; touch -r ../left/null null; touch -r ../left .';
    const found = (await differencesAfter(change)).map(({ path, field }) => `${path} ${field}`);
    expect(found).toEqual(['link owner', 'null rdev']);
    expect((await differencesAfter('setfattr -h -x trusted.t link')).map(({ field }) => field)).toEqual(['xattrs']);
  });
});
