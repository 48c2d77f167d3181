/**
 * Random changes of a snapshot, some made by the kernel and some by FUSE: whoever mounts it next sees what the one before showed. LAYERFS_EROFS_SEEDS
 * says how many sequences, LAYERFS_EROFS_SEED where they begin.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { judge, report } from './compare/compare.js';
import { snapshot, type Snapshot } from './compare/snapshot.js';
import { run } from './images/oci.js';
import { tarOf } from './images/tar.js';
import { needKernelMounts } from './support/erofs.js';
import { Workplace } from './support/mounted.js';

const SEEDS = Number(process.env['LAYERFS_EROFS_SEEDS'] ?? 2);
const FIRST = Number(process.env['LAYERFS_EROFS_SEED'] ?? 1);
const ROUNDS = 4;
const CHANGES = 25;

const FOLDERS = ['a', 'b', 'a/in', 'a/in/deep', 'c'];
const FILES = [
  'one',
  'two',
  'three',
  'a/one',
  'a/two',
  'a/in/one',
  'a/in/deep/one',
  'b/one',
  'b/two',
  'b/three',
  'c/one',
];

const IMAGE = tarOf(
  { name: './', mode: 0o755, mtime: 1000 },
  ...FOLDERS.map((name) => ({ name: `${name}/`, mode: 0o755, mtime: 1000 })),
  ...FILES.map((name, index) => ({
    name,
    data: `content of ${name}\n`.repeat(1 + (index % 3) * 400),
    mtime: 2000 + index,
  })),
  { name: 'a/link', type: '2', linkname: 'one', mtime: 2000 },
  { name: 'b/empty', data: '', mtime: 2000 },
);

/** Only these get more names: of a lower file that FUSE gave some, the kernel may show two until it is mounted again (docs/mount.md). */
const NEW = ['new1', 'a/new2', 'b/new3', 'c/new4'];

/** Numbers below a limit, the same for the same seed. */
function random(seed: number): (limit: number) => number {
  let state = seed * 2654435761 + 1;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** One change as a shell command; it may be impossible, and then changes nothing. */
function change(next: (limit: number) => number, count: number): string {
  const pick = (list: readonly string[]): string => list[next(list.length)];
  const file = (): string => pick(next(4) === 0 ? NEW : FILES);
  const folder = (): string => pick(next(4) === 0 ? ['d', 'a/e', 'b/f'] : FOLDERS);
  const any = (): string => (next(3) === 0 ? folder() : file());
  const kinds = [
    () => `chmod ${(0o400 + next(0o377)).toString(8)} ${file()}`,
    () => `chmod 7${next(7)}${next(7)} ${folder()}`,
    () => `chown ${next(9)}:${next(9)} ${any()}`,
    () => `echo line ${count} >> ${file()}`,
    () => `echo all ${count} > ${file()}`,
    () => `truncate -s ${next(3000)} ${file()}`,
    () => `touch -d @${next(100_000)}.${next(999_999_999)} ${any()}`,
    () => `setfattr -n user.x${next(3)} -v ${count} ${any()}`,
    () => `mv -T ${file()} ${file()}`,
    () => `mv -T ${folder()} ${folder()}`,
    () => `mv ${any()} ${folder()}/`,
    () => `ln ${pick(NEW)} ${folder()}/ln${next(4)}`,
    () => `ln -s target${count} ${folder()}/sym${next(3)}`,
    () => `rm -f ${file()}`,
    () => `rm -rf ${any()}`,
    () => `mkdir -p ${folder()}`,
    () => `mkfifo ${folder()}/fifo`,
  ];
  return kinds[next(kinds.length)]();
}

const place = new Workplace({ disk: true });
afterAll(() => place.remove());

test.for(Array.from({ length: SEEDS }, (_, index) => FIRST + index))(
  'seed %d: kernel and FUSE take turns',
  { timeout: 300_000 },
  async (seed, context) => {
    needKernelMounts(context, 'fuse', 'getfattr', 'setfattr');
    writeFileSync(join(place.folder, 'image.tar'), IMAGE);
    await place.ok(['import', join(place.folder, 'image.tar'), '--name', 'image']);
    const next = random(seed);
    const name = `seed${seed}`;
    const log: string[] = [];
    const look = async (mode: string, script?: string): Promise<Snapshot> => {
      const mountpoint = await place.mount('image', '--mount-mode', mode, '--name', name);
      if (script !== undefined) await run('sh', ['-c', script], { cwd: mountpoint });
      const seen = await snapshot(mountpoint);
      await place.unmount(mountpoint);
      return seen;
    };
    for (let round = 0; round < ROUNDS; round++) {
      const [first, second] = next(2) === 0 ? ['kernel', 'fuse'] : ['fuse', 'kernel'];
      const lines = Array.from(
        { length: CHANGES },
        (_, index) => `${change(next, round * CHANGES + index)} 2> /dev/null`,
      );
      log.push(`# by ${first}`, ...lines);
      const done = await look(first, `${lines.join('\n')}\ntrue`);
      const { unexplained } = judge(await look(second), done);
      const changes = unexplained.length === 0 ? '' : `\nafter:\n${log.join('\n')}`;
      expect(report(unexplained, [second, first]) + changes).toBe('');
    }
  },
);
