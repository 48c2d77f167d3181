import { expect, test } from 'vitest';
import { buildProgram } from '../program/program.js';
import { candidates, placeholderOf, type Names } from './candidates.js';
import { kindsOf } from './kinds.js';

const table = buildProgram('', () => Promise.resolve());
const asked: (string | undefined)[] = [];
const names: Names = (kind, root) => {
  asked.push(root);
  const known = { image: ['app:1', 'app:2', 'base'], snapshot: ['work'], lease: ['l1'], mountpoint: ['/mnt'] };
  return Promise.resolve(known[kind]);
};

/** The words offered, and ` files` or ` folders`. */
async function offered(line: string): Promise<string[]> {
  const { words, paths } = await candidates(table, line.split(' '), names);
  return [...words.map(({ word }) => word), ...(paths === 'none' ? [] : [` ${paths}`])];
}

test('every argument and every value in the command table is known', () => {
  let count = 0;
  for (const command of [table, ...table.commands]) {
    for (const argument of command.registeredArguments) {
      expect(kindsOf(command.name(), argument.name())).toBeInstanceOf(Array);
      count++;
    }
    for (const option of command.options.filter(({ required }) => required)) {
      expect(kindsOf(command.name(), placeholderOf(option))).toBeInstanceOf(Array);
      count++;
    }
  }
  expect(count).toBeGreaterThan(60);
  expect(() => kindsOf('mount', 'bogus')).toThrow('<bogus> of mount');
});

test.each([
  ['im', ['import', 'images']],
  ['--ro', ['--root']],
  ['--root /s uns', []],
  ['mount a', ['app:1', 'app:2']],
  ['mount --rw --name w', ['work']],
  ['mount --name x app:2', ['app:2']],
  ['mount app ', [' folders']],
  ['mount app /mnt ', []],
  ['mount --mount-mode ', ['fuse', 'kernel', 'auto']],
  ['mount --mount-mode=k', ['--mount-mode=kernel']],
  ['mount --mount-m', ['--mount-mode']],
  ['mount --bogus=', []],
  ['umount ', ['/mnt']],
  ['rmi base a', ['app:1', 'app:2']],
  ['rmi -- -', []],
  ['import ', [' files']],
  ['import x --name ', []],
  ['diff ', ['work', '/mnt', 'app:1', 'app:2', 'base']],
  ['unlease ', ['l1']],
  ['lease --renew ', ['l1']],
  ['snapshotter ', []],
  ['completion ', ['bash', 'zsh', 'fish']],
  ['bogus ', []],
  ['--root ', [' folders']],
  ['images --', ['--root', '--quiet', '--json', '--help']],
])('%j', async (line, expected) => {
  expect((await offered(line)).toSorted()).toEqual(expected.toSorted());
});

test('descriptions come along, and the store is the one that was named', async () => {
  const { words } = await candidates(table, ['unm'], names);
  expect(words).toEqual([{ word: 'unmount', description: 'unmount' }]);
  asked.length = 0;
  await offered('--root /a rmi ');
  await offered('rmi --root=/b ');
  await offered('rmi ');
  expect(asked).toEqual(['/a', '/b', undefined]);
});
