import { strict as assert } from 'node:assert';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync } from 'node:fs';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser } from '../../harness/users.js';

export const runPrograms = new Family('programs');
const { add } = runPrograms;
const { O } = sys;

/** What became of running a program: its output, or the errno. */
function run(program: string, ...args: string[]): string {
  const { error, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  if (error === undefined) return stdout;
  return (error as NodeJS.ErrnoException).code ?? error.message;
}

function program(from: string, to: string, mode = 0o755): void {
  copyFileSync(from, to);
  chmodSync(to, mode);
}

const script = (mode: number) => (): void => file('s', { content: '#!/bin/sh\necho "ran $1"\n', mode });

add('a binary runs', { prepare: () => program('/bin/echo', 'e') }, () => {
  assert.equal(run('./e', 'hello'), 'hello\n');
  sys.rename('e', 'f');
  assert.equal(run('./f', 'hello'), 'hello\n');
});

add('a script runs', { prepare: script(0o755) }, () => {
  assert.equal(run('./s', 'well'), 'ran well\n');
});

add('a script runs by an interpreter that lies beside it', { prepare: () => program('/bin/echo', 'e') }, () => {
  file('s', { content: `#!${process.cwd()}/e interpreted\n`, mode: 0o755 });
  assert.equal(run('./s'), 'interpreted ./s\n');
});

add(
  'what cannot be run says why',
  {
    root: true,
    prepare: () => {
      file('plain', { content: '#!/bin/sh\n', mode: 0o644 });
      file('nowhere', { content: '#!/no/such/interpreter\n', mode: 0o755 });
    },
  },
  () => {
    assert.equal(run('./plain'), 'EACCES');
    assert.equal(run('./nowhere'), 'ENOENT');
    assert.equal(run('./nothing'), 'ENOENT');
  },
);

add(
  'the execute bit is asked of each class',
  {
    root: true,
    prepare: () => {
      script(0o744)();
      sys.chown('s', OWNER.uid, OWNER.gid);
    },
  },
  () => {
    assert.equal(
      asUser(OTHER, () => run('./s', 'x')),
      'EACCES',
    );
    assert.equal(
      asUser(OWNER, () => run('./s', 'x')),
      'ran x\n',
    );
    sys.chmod('s', 0o655);
    assert.equal(
      asUser(OWNER, () => run('./s', 'x')),
      'EACCES',
    );
    assert.equal(
      asUser(OTHER, () => run('./s', 'x')),
      'ran x\n',
    );
  },
);

add('a binary may be run without being read', { root: true, prepare: () => program('/bin/echo', 'e', 0o711) }, () => {
  assert.equal(
    asUser(OTHER, () => run('./e', 'x')),
    'x\n',
  );
  asUser(OTHER, () => expectErrno('EACCES', () => sys.open('e', O.RDONLY)));
});

for (const [bit, flag] of [
  [0o4000, '-u'],
  [0o2000, '-g'],
] as const) {
  add(
    `${bit === 0o4000 ? 'setuid' : 'setgid'} takes the file's id`,
    {
      root: true,
      prepare: () => {
        program('/usr/bin/id', 'id');
        sys.chown('id', OWNER.uid, OWNER.gid);
        sys.chmod('id', 0o755 | bit);
      },
    },
    () => {
      const id = (): string => asUser(OTHER, () => run('./id', flag)).trim();
      if (id() === String(OTHER.uid)) throw new Skip('mounted with nosuid');
      assert.equal(id(), String(OWNER.uid));
      sys.chmod('id', 0o755);
      assert.equal(id(), String(OTHER.uid));
    },
  );
}

/** Runs a copy of sleep from here while something is done. */
async function whileRunning(act: (pid: number) => void): Promise<void> {
  const child = spawn(`${process.cwd()}/sleep`, ['100'], { stdio: 'ignore' });
  const gone = once(child, 'exit');
  try {
    await once(child, 'spawn');
    act(child.pid ?? 0);
  } finally {
    child.kill('SIGKILL');
    await gone;
  }
}

const sleeper = (): void => program('/bin/sleep', 'sleep');

add('a running program cannot be written: ETXTBSY', { prepare: sleeper }, async () => {
  await whileRunning(() => {
    for (const flags of [O.WRONLY, O.RDWR, O.WRONLY | O.TRUNC, O.WRONLY | O.APPEND]) {
      expectErrno('ETXTBSY', () => sys.open('sleep', flags));
    }
    expectErrno('ETXTBSY', () => content.truncate('sleep', 0));
    sys.withFd('sleep', O.RDONLY, () => undefined);
    sys.chmod('sleep', 0o700);
  });
  sys.withFd('sleep', O.WRONLY, () => undefined);
});

add(
  'a running program may be removed and replaced',
  { prepare: () => (sleeper(), program('/bin/echo', 'new')) },
  async () => {
    await whileRunning((pid) => {
      sys.rename('new', 'sleep');
      assert.equal(run('./sleep', 'replaced'), 'replaced\n');
      sys.unlink('sleep');
      process.kill(pid, 0);
    });
    assert.deepEqual(sys.names(), []);
  },
);

add('a program that is open for writing cannot be run: ETXTBSY', { prepare: () => program('/bin/echo', 'e') }, () => {
  sys.withFd('e', O.WRONLY, () => assert.equal(run('./e', 'x'), 'ETXTBSY'));
  assert.equal(run('./e', 'x'), 'x\n');
});

add('a new version of a program runs at once', { prepare: () => program('/bin/echo', 'e') }, () => {
  assert.equal(run('./e', 'old'), 'old\n');
  program('/bin/cat', 'e');
  file('text', { content: 'from cat' });
  assert.equal(run('./e', 'text'), 'from cat');
  content.overwrite('e', '#!/bin/sh\necho script\nexit\n');
  assert.equal(run('./e'), 'script\n');
});

add(
  'cp -a and tar carry all over',
  {
    root: true,
    prepare: () => {
      folder('d');
      file('d/a', { owner: OWNER, mode: 0o4750 });
      sys.link('d/a', 'd/b');
      sys.symlink('a', 'd/l');
    },
  },
  () => {
    execFileSync('cp', ['-a', 'd', 'copy']);
    sys.mkdir('untarred');
    execFileSync('sh', ['-c', 'tar c -C d . | tar x -C untarred']);
    for (const copy of ['copy', 'untarred']) {
      for (const name of ['a', 'b', 'l']) {
        const [was, is] = [sys.lstat(`d/${name}`), sys.lstat(`${copy}/${name}`)];
        for (const key of ['type', 'perm', 'uid', 'gid', 'size', 'nlink'] as const)
          assert.equal(is[key], was[key], key);
        // tar keeps whole seconds.
        assert.equal(is.mtime / 1_000_000_000n, was.mtime / 1_000_000_000n);
      }
    }
  },
);
