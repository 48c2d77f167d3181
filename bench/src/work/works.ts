/** Pieces of work that change a root, as shell commands. */
import { join } from 'node:path';
import { run, TOP } from '../harness/programs.js';
import type { Area } from '../harness/area.js';
import type { Bench } from '../harness/bench.js';

/** A whole piece of work on a writable mount; `before` is not timed. */
export interface Work {
  readonly name: string;
  readonly before?: string;
  readonly command: string;
}

/**
 * What makes things of its own, and changes nothing that was there: done on one mount, one after the other. Removing comes last, and files are
 * not created first: after many were removed ext4 is slow to create new ones for some seconds.
 */
export function newWorks(bench: Bench, tar: string): Work[] {
  const [files, transactions, megabytes, sources] = bench.quick ? [500, 50, 64, 3] : [5000, 300, 512, 20];
  const script = (text: string): string => `python3 -c "${text.trim().replaceAll('\n', ';')}"`;
  const list: Work[] = [
    {
      name: `write ${megabytes} MiB`,
      command: `dd if=/dev/zero of=big bs=1M count=${megabytes} 2> /dev/null`,
    },
  ];
  if (bench.has('cc')) {
    list.push({
      name: `compile ${sources} C files`,
      before: `mkdir c && for i in $(seq ${sources}); do printf '#include <stdio.h>\\nint f%d(void) { return printf("%d"); }\\n' $i $i > c/$i.c; done`,
      command: 'cd c && for i in *.c; do cc -c $i; done && ar rc all.a *.o',
    });
  }
  if (bench.has('python3')) {
    list.push(
      {
        name: `${transactions} SQLite transactions`,
        command: script(`
import sqlite3
db = sqlite3.connect('test.db', isolation_level=None)
db.execute('create table t (a integer primary key, b text)')
[db.execute('insert into t (b) values (?)', ('x' * 200,)) for i in range(${transactions})]`),
      },
      {
        name: `create ${files.toLocaleString('en-US')} small files`,
        command: script(`
import os
os.mkdir('many')
[open('many/%d' % i, 'w').write('x' * 100) for i in range(${files})]`),
      },
    );
  }
  list.push(
    { name: 'untar a Debian root', command: `mkdir new && tar x -C new -f ${tar}` },
    { name: 'rm -rf of a new tree', command: 'rm -rf new' },
  );
  return list;
}

/** What changes what was there. */
export const LOWER_WORKS: readonly Work[] = [
  { name: 'chmod -R of a lower tree', command: 'chmod -R o-x usr' },
  { name: 'rm -rf of a lower tree', command: 'rm -rf usr/share usr/lib' },
];

/** Copies a part of the image's contents into a repository. @param folder of the image */
export function gitWork(folder: string): Work {
  return {
    name: 'git: add, commit and status of a lower tree',
    command: [
      `cd ${folder} && git init -q . 2> /dev/null && git add -A .`,
      'git -c user.name=bench -c user.email=bench@localhost commit -qm all && git status --porcelain',
    ].join(' && '),
  };
}

/** Some hundred real packages out of npm's cache, as the tests install them. */
export function npmInstall(area: Area): Work {
  const folder = area.make('npm');
  const prepared = JSON.parse(run(process.execPath, join(TOP, 'test/dist/npm/prepare.js'), folder)) as {
    packages: number;
    command: string;
  };
  return {
    name: `npm install of ${prepared.packages} packages`,
    before: `cp -r ${folder}/project new`,
    command: `cd new && ${prepared.command}`,
  };
}
