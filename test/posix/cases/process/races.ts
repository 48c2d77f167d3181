import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { withPeers } from '../../harness/peer.js';

/** Two processes at the same names at the same time. */
export const races = new Family('races');
const { add } = races;
const ROUNDS = 200;

const NAMES = Array.from({ length: ROUNDS }, (_, i) => `n${String(i)}`);

/** Both processes try each name: what the call answered to each, by process. */
async function compete(how: 'create' | 'link' | 'mkdir' | 'rename' | 'rmdir' | 'unlink'): Promise<string[][]> {
  let results: string[][] = [];
  await withPeers(2, async (...peers) => {
    results = await Promise.all(peers.map(async (peer) => (await peer.call('tryEach', how, NAMES)) as string[]));
  });
  return results;
}

/** Of each name one process has it, and the other one is told `loser`. */
function expectOneWinner([a, b]: string[][], loser: string): void {
  const wrong = NAMES.map((name, i) => [name, ...[a[i], b[i]].toSorted()].join(' ')).filter(
    (line, i) => line !== [NAMES[i], ...['ok', loser].toSorted()].join(' '),
  );
  assert.deepEqual(wrong, []);
}

const files = (): void => NAMES.forEach((name) => sys.mknod(name, sys.S.REG | 0o644));

add('a name is created with O_EXCL by one', {}, async () => {
  expectOneWinner(await compete('create'), 'EEXIST');
  assert.deepEqual(sys.names(), NAMES.toSorted());
});

add('a folder is made by one', {}, async () => {
  expectOneWinner(await compete('mkdir'), 'EEXIST');
  assert.deepEqual(sys.names(), NAMES.toSorted());
});

add('a name is linked by one', { prepare: () => file('x') }, async () => {
  expectOneWinner(await compete('link'), 'EEXIST');
  assert.equal(sys.stat('x').nlink, ROUNDS + 1);
});

add('a name is removed by one', { prepare: files }, async () => {
  expectOneWinner(await compete('unlink'), 'ENOENT');
  assert.deepEqual(sys.names(), []);
});

add('a folder is removed by one', { prepare: () => NAMES.forEach((name) => folder(name)) }, async () => {
  expectOneWinner(await compete('rmdir'), 'ENOENT');
  assert.deepEqual(sys.names(), []);
});

add('a name is moved by one', { prepare: files }, async () => {
  expectOneWinner(await compete('rename'), 'ENOENT');
  assert.deepEqual(sys.names(), NAMES.map((name) => `${name}.moved`).toSorted());
});

add(
  'a file that is replaced all the time is always there, and whole',
  { prepare: () => file('x', { content: 'v'.repeat(9000) }) },
  () =>
    withPeers(2, async (writer, reader) => {
      const [, seen] = await Promise.all([
        writer.call('replaceOften', 'x', ROUNDS, 9000),
        reader.call('readOften', 'x', ROUNDS * 3),
      ]);
      assert.deepEqual(seen, ['9000']);
      assert.equal(content.readFile('x').length, 9000);
    }),
);

add(
  'two names that are exchanged all the time are both always there',
  {
    prepare: () => {
      file('a', { content: '1' });
      file('b', { content: '1' });
    },
  },
  () =>
    withPeers(2, async (swapper, reader) => {
      const [, a, b] = await Promise.all([
        swapper.call('exchangeOften', 'a', 'b', ROUNDS + 1),
        reader.call('readOften', 'a', ROUNDS * 2),
        reader.call('readOften', 'b', ROUNDS * 2),
      ]);
      assert.deepEqual([a, b], [['1'], ['1']]);
    }),
);

add(
  'both change a file that was not changed before',
  { prepare: () => NAMES.forEach((name) => file(name, { content: '..' })) },
  async () => {
    await withPeers(2, async (...peers) => {
      // Each its own byte: where both copy up, none may undo the other's write.
      await Promise.all(peers.map((peer, i) => peer.call('writeByteOfEach', NAMES, 'ab'[i], i)));
    });
    assert.deepEqual(
      NAMES.filter((name) => content.readFile(name) !== 'ab'),
      [],
    );
  },
);

add('both make names in a folder, while one lists it', { prepare: () => (folder('d'), file('d/x')) }, () =>
  withPeers(2, async (a, b) => {
    const paths = (letter: string): string[] => NAMES.map((name) => `d/${letter}${name}`);
    await Promise.all([a.call('tryEach', 'create', paths('a')), b.call('tryEach', 'create', paths('b'))]);
    assert.equal(sys.names('d').length, ROUNDS * 2 + 1);
    const [, lists] = await Promise.all([a.call('tryEach', 'unlink', paths('a')), b.call('listOften', 'd', 20)]);
    // What nobody touches is in each list, once.
    assert.deepEqual(lists, [ROUNDS + 1]);
    assert.equal(sys.names('d').length, ROUNDS + 1);
  }),
);
