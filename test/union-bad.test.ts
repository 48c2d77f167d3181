/** Writable mounts that meet bad input: each is refused with its reason, or works for all but what is bad; nothing is left behind. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { tarOf } from './images/tar.js';
import { missing, need } from './support/needs.js';
import { mountsBelow } from './support/store-listing.js';
import { look } from './support/union-look.js';
import { attempt, ended, isRunning, PYTHON, python, sh, umount, UnionPlace } from './support/union-place.js';

const reason = missing('root', 'fuse', 'python3', 'setfattr');
if (reason !== undefined) console.warn(`skipped: writable mounts and bad input: ${reason}`);
const MINUTES = 60_000;

describe.skipIf(reason !== undefined)('writable mounts and bad input', () => {
  const place = new UnionPlace();
  const children: ChildProcess[] = [];
  let lower = '';
  let tmpfs = '';

  beforeAll(async () => {
    // All of it in memory: xattrs may be large there.
    tmpfs = join(place.folder, 'tmpfs');
    mkdirSync(tmpfs);
    await sh('mount -t tmpfs -o size=300m tmpfs "$1"', [tmpfs]);
    lower = join(tmpfs, 'lower');
    mkdirSync(lower);
    const noise = Buffer.alloc(3_000_000, 'layerfs ');
    const long = 'n'.repeat(255);
    await sh(
      `cd "$1"; mkdir -p dir/sub other; echo in > dir/in; echo deep > dir/sub/deep; echo other > other/o
      echo file > file; ln -s file link; echo hidden > hidden; echo long > $2; echo plain > plain; for i in $(seq 20); do echo $i > other/n$i; done`,
      [lower, long],
    );
    writeFileSync(join(lower, 'large'), noise);
    writeFileSync(join(place.folder, 'secret'), 'secret\n');
    await place.ok(['import', lower, '--name', 'lower']);
  });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const end = once(child, 'close');
      child.kill('SIGKILL');
      await end;
    }
    for (const mountpoint of mountsBelow(place.folder).toReversed()) {
      if (mountpoint !== tmpfs) await attempt('umount', ['-l', mountpoint]);
    }
  });
  afterAll(async () => {
    await umount(tmpfs);
    await place.remove();
  });

  let count = 0;
  interface Folders {
    upper: string;
    work: string;
    mountpoint: string;
    options: string;
  }
  /** Empty folders for a union of its own over `lower`. */
  function folders(base = tmpfs): Folders {
    const at = (name: string): string => {
      const path = join(base, `${name}${count}`);
      mkdirSync(path);
      return path;
    };
    count++;
    const [upper, work, mountpoint] = [at('upper'), at('work'), place.newFolder('mnt')];
    return { upper, work, mountpoint, options: `lowerdir=${lower},upperdir=${upper},workdir=${work}` };
  }
  const ourMounts = (): string[] => mountsBelow(place.folder).filter((path) => path.includes('/mnt-'));

  /** Opens a file in a process of its own, which writes a line to it whenever it gets one, and prints how that went. */
  function holder(path: string): { child: ChildProcess; write: () => Promise<string> } {
    const program = `
import sys
file = open(sys.argv[1], 'r+b', 0)
def say(text): sys.stdout.write(text + '\\n'); sys.stdout.flush()
say('open')
for line in sys.stdin:
    try:
        file.seek(0, 2); file.write(b'more\\n'); file.seek(0); say('read ' + file.read()[:5].decode().strip())
    except OSError as error: say(str(error))
`;
    const child = spawn('timeout', ['60', PYTHON, '-c', program, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const answer = async (): Promise<string> => String((await lines.next()).value);
    const opened = answer();
    return {
      child,
      write: async () => {
        await opened;
        child.stdin.write('go\n');
        return answer();
      },
    };
  }

  describe('fuse-layerfs refuses', () => {
    const cases: [what: string, options: (f: Folders) => string, says: RegExp][] = [
      [
        'a missing upper',
        (f) => f.options.replace(f.upper, '/nonexistent/u'),
        /\/nonexistent\/u.*(no such file|ENOENT|does not exist)/i,
      ],
      [
        'a missing work',
        (f) => f.options.replace(f.work, '/nonexistent/w'),
        /workdir.*(no such file|ENOENT|does not exist)/i,
      ],
      [
        'a missing lower',
        (f) => f.options.replace(lower, '/nonexistent/l'),
        /lowerdir.*(no such file|ENOENT|does not exist)/i,
      ],
      ['upper without work', (f) => f.options.replace(/,workdir.*/, ''), /workdir/],
      ['no lower', (f) => f.options.replace(/lowerdir=[^,]*,/, ''), /lowerdir/],
      [
        'an upper that is a file',
        (f) => f.options.replace(f.upper, join(lower, 'file')),
        /upperdir.*(not a (folder|directory)|ENOTDIR)/i,
      ],
      [
        'a work that is a file',
        (f) => f.options.replace(f.work, join(lower, 'file')),
        /workdir.*(not a (folder|directory)|ENOTDIR)/i,
      ],
      ['work on another filesystem', (f) => f.options.replace(f.work, '/dev'), /different filesystems/],
      ['an unknown option value', (f) => `${f.options},uidmapping=x`, /uidmapping/],
    ];
    test.each(cases)('%s', async (_, options, says) => {
      const f = folders();
      const { code, stderr } = await place.fuse(options(f), f.mountpoint);
      expect(stderr).toMatch(says);
      expect(stderr).toMatch(/^fuse-layerfs: /);
      expect(stderr).not.toMatch(/^ +at /m);
      expect(code).toBe(1);
      expect(ourMounts()).toEqual([]);
    });

    test('a mountpoint that is not there', async () => {
      const f = folders();
      const { code, stderr } = await place.fuse(f.options, join(f.mountpoint, 'none'));
      expect(stderr).toMatch(/fuse-layerfs: .*(no such file|does not exist|ENOENT)/i);
      expect(code).toBe(1);
    });

    test('a work folder that another mount uses; that one goes on', async () => {
      const f = folders();
      expect(await place.fuse(f.options, f.mountpoint)).toMatchObject({ code: 0 });
      const g = folders();
      for (const options of [f.options, g.options.replace(g.work, f.work)]) {
        const { code, stderr } = await place.fuse(options, g.mountpoint);
        expect(stderr).toMatch(/in use by another mount/);
        expect(code).toBe(1);
      }
      await sh('cd "$1"; echo x > new; cat new file; umount "$1"', [f.mountpoint]).catch(() => undefined);
      expect(readdirSync(f.upper)).toContain('new');
      await umount(f.mountpoint);
    });

    test('upper and work on a read-only filesystem', async () => {
      const disk = join(place.folder, `ro${count}`);
      mkdirSync(disk);
      await sh('mount -t tmpfs tmpfs "$1"', [disk]);
      const f = folders(disk);
      await sh('mount -o remount,ro "$1"', [disk]);
      const { code, stderr } = await place.fuse(f.options, f.mountpoint);
      expect(stderr).toMatch(/^fuse-layerfs: .*read-only|EROFS/i);
      expect(code).toBe(1);
      expect(ourMounts()).toEqual([]);
      await umount(disk);
    });
  });

  describe('layerfs', () => {
    test.each(['upper', 'work'] as const)('a snapshot whose %s is gone', async (which) => {
      const name = `gone-${which}`;
      const mountpoint = await place.rw('lower', name);
      await place.unmount(mountpoint);
      const snapshot = await place.snapshot(name);
      renameSync(snapshot[which], `${snapshot[which]}.away`);
      const { code, stderr, stdout } = await place.try(['mount', 'lower', mountpoint, '--rw', '--name', name]);
      if (code !== 0) {
        expect(stderr).toMatch(/^layerfs: cannot (mount|use) .*(upper|work)/);
        expect(stderr).not.toMatch(/^ +at /m);
        expect(stdout).toBe('');
        expect(ourMounts()).toEqual([]);
      } else {
        expect(which).toBe('work');
        await place.unmount(mountpoint);
      }
    });

    test('a snapshot whose work lies on another filesystem', async () => {
      const mountpoint = await place.rw('lower', 'elsewhere');
      await place.unmount(mountpoint);
      const { work } = await place.snapshot('elsewhere');
      await sh('mount -t tmpfs tmpfs "$1"', [work]);
      const { code, stderr } = await place.try(['mount', 'lower', mountpoint, '--rw', '--name', 'elsewhere']);
      expect(stderr).toMatch(/different filesystems/);
      expect(code).toBeGreaterThan(0);
      expect(ourMounts()).toEqual([]);
      await umount(work);
    });

    test('a snapshot that is mounted: not mounted twice, not removed', async () => {
      const mountpoint = await place.rw('lower', 'twice');
      const second = place.newFolder('mnt');
      const again = await place.try(['mount', 'lower', second, '--rw', '--name', 'twice']);
      expect(again).toMatchObject({ stdout: '' });
      expect([1, 6]).toContain(again.code);
      expect(again.stderr).toMatch(/twice.*(mounted|in use)/);
      const removed = await place.try(['rm', 'twice']);
      expect(removed).toMatchObject({ code: 6, stdout: '' });
      expect(removed.stderr).toMatch(/mounted/);
      expect(ourMounts()).toEqual([mountpoint]);
      expect(await sh('echo x > "$1/new"; cat "$1/new"', [mountpoint])).toBe('x\n');
      await place.unmount(mountpoint);
      await place.ok(['rm', 'twice']);
      await expect(place.snapshot('twice')).rejects.toThrow('no snapshot');
    });

    test('a snapshot of another image, a bad name, a name for nothing', async () => {
      const image = join(place.folder, 'other.tar');
      writeFileSync(image, tarOf({ name: 'x', data: 'x' }));
      await place.ok(['import', image, '--name', 'another']);
      await place.unmount(await place.rw('lower', 'mine'));
      const mountpoint = place.newFolder('mnt');
      const cases: [args: string[], code: number, says: RegExp][] = [
        [['another', mountpoint, '--rw', '--name', 'mine'], 6, /mine/],
        [['lower', mountpoint, '--rw', '--name', '../../x'], 4, /name/],
        [['lower', mountpoint, '--rw', '--name', ''], 4, /name/],
        [['nope', mountpoint, '--rw', '--name', 'nope'], 3, /no image/],
        [['lower', join(mountpoint, 'none'), '--rw', '--name', 'unmade'], 3, /does not exist/],
      ];
      const answers = [];
      for (const [args] of cases) answers.push(await place.try(['mount', ...args]));
      expect(answers.map(({ code }) => code)).toEqual(cases.map(([, code]) => code));
      for (const [index, { stderr }] of answers.entries()) expect(stderr).toMatch(cases[index][2]);
      expect(ourMounts()).toEqual([]);
    });

    test('a mount that fails leaves no new snapshot behind', async () => {
      const { code } = await place.try(['mount', 'lower', join(place.folder, 'none'), '--rw', '--name', 'unmade']);
      expect(code).toBe(3);
      expect((await place.ok(['snapshots', '-q'])).split('\n')).not.toContain('unmade');
    });

    test('a snapshot that is mounted already is in use; a name alone makes a mount writable', async () => {
      const mountpoint = await place.rw('lower', 'codes');
      const second = place.newFolder('mnt');
      const again = await place.try(['mount', 'lower', second, '--rw', '--name', 'codes']);
      expect(again.code).toBe(6);
      await place.ok(['mount', 'lower', second, '--name', 'implied']);
      await sh('echo x > "$1/file-of-implied"', [second]);
      await place.unmount(second);
      await place.unmount(mountpoint);
    });

    test('busy: says who; lazily it goes', async () => {
      const mountpoint = await place.rw('lower', 'busy');
      const { child, write } = holder(join(mountpoint, 'file'));
      expect(await write()).toBe('read file');
      const busy = await place.try(['unmount', mountpoint]);
      expect(busy.code).toBe(6);
      expect(busy.stderr).toMatch(/python3|timeout/);
      expect(ourMounts()).toEqual([mountpoint]);
      expect(await write()).toBe('read file');
      const pid = await place.server(mountpoint);
      await place.ok(['unmount', '--lazy', mountpoint]);
      expect(ourMounts()).toEqual([]);
      expect(await write()).toBe('read file');
      // Not mounted, but still in use.
      const again = await place.try(['mount', 'lower', mountpoint, '--rw', '--name', 'busy']);
      expect([1, 6]).toContain(again.code);
      expect(again.stderr).toMatch(/mounted|in use/);
      const end = once(child, 'close');
      child.stdin!.end();
      await end;
      await ended(pid);
      await place.rw('lower', 'busy', [], mountpoint);
      expect(readFileSync(join(mountpoint, 'file'), 'utf8')).toBe('file\nmore\nmore\nmore\n');
      await place.unmount(mountpoint);
    });

    test('SIGTERM while files are open: out of sight at once, ended with the last', async () => {
      const mountpoint = await place.rw('lower', 'term');
      const { child, write } = holder(join(mountpoint, 'file'));
      const big = holder(join(mountpoint, 'large'));
      expect(await write()).toBe('read file');
      expect(await big.write()).toBe('read layer');
      const pid = await place.server(mountpoint);
      process.kill(pid, 'SIGTERM');
      await expect.poll(ourMounts, { timeout: 20_000 }).toEqual([]);
      expect(await write()).toBe('read file');
      expect(await big.write()).toBe('read layer');
      expect(await isRunning(pid)).toBe(true);
      const end = Promise.all([once(child, 'close'), once(big.child, 'close')]);
      child.stdin!.end();
      big.child.stdin!.end();
      await end;
      await ended(pid);
      await place.rw('lower', 'term', [], mountpoint);
      expect(readFileSync(join(mountpoint, 'file'), 'utf8')).toBe('file\nmore\nmore\n');
      await place.unmount(mountpoint);
    });

    test('SIGTERM twice: ended at once, and mountable again', async () => {
      const mountpoint = await place.rw('lower', 'term-twice');
      const { child, write } = holder(join(mountpoint, 'file'));
      expect(await write()).toBe('read file');
      const pid = await place.server(mountpoint);
      process.kill(pid, 'SIGTERM');
      await expect.poll(ourMounts, { timeout: 20_000 }).toEqual([]);
      process.kill(pid, 'SIGTERM');
      await ended(pid);
      child.stdin!.end();
      await place.rw('lower', 'term-twice', [], mountpoint);
      expect(readFileSync(join(mountpoint, 'file'), 'utf8')).toBe('file\nmore\n');
      await place.unmount(mountpoint);
    });
  });

  describe('a full disk', () => {
    /** A union whose upper has little room. */
    async function small(size: string): Promise<Folders & { disk: string }> {
      const disk = join(place.folder, `small${count}`);
      mkdirSync(disk);
      await sh('mount -t tmpfs -o "$2" tmpfs "$1"', [disk, size]);
      const f = folders(disk);
      expect(await place.fuse(f.options, f.mountpoint)).toMatchObject({ code: 0 });
      return { ...f, disk };
    }
    async function done({ mountpoint, disk }: { mountpoint: string; disk: string }): Promise<void> {
      await umount(mountpoint);
      await umount(disk);
    }
    const free = (folder: string): number => statfsSync(folder).bavail * statfsSync(folder).bsize;

    test('who writes gets ENOSPC; reading goes on, and writing when there is room again', async () => {
      const f = await small('size=2m');
      const script = `cd "$1"
        head -c 4000000 /dev/zero > fill || echo full; cat file dir/sub/deep; ls dir other | wc -l; sha256sum < large | cut -c1-8
        echo more >> plain || echo "no more"; rm -f fill; cat plain; echo more >> plain; cat plain; echo new > new; cat new`;
      const { stdout, stderr } = await attempt('sh', ['-c', script, 'sh', f.mountpoint], { seconds: 30 });
      expect(stderr).toMatch(/No space left on device/);
      expect(stdout).toMatch(/^full\nfile\ndeep\n/);
      expect(stdout.endsWith('plain\nmore\nnew\n') || stdout.endsWith('plain\nmore\nmore\nnew\n')).toBe(true);
      await done(f);
    });

    const changes: [how: string, script: string][] = [
      ['append', 'echo x >> large'],
      ['write', 'printf x | dd of=large conv=notrunc status=none'],
      ['truncate', 'truncate -s 2900000 large'],
      ['mmap', `python3 -c "import mmap;f=open('large','r+b');mmap.mmap(f.fileno(),0)[0:1]=b'x'"`],
      ['append after chmod', 'chmod 600 large; echo x >> large'],
    ];
    // What Node throws is EIO for the program, and what is staged stays until the next mount: the disk is full for all others, too.
    test.each(changes)(
      'a copy-up without room (%s) leaves the file as it was, and the room as well',
      async (_, script) => {
        const f = await small('size=1m');
        const before = free(f.disk);
        const { code, stderr } = await attempt('sh', ['-ec', `cd "$1"; ${script}`, 'sh', f.mountpoint], {
          seconds: 30,
        });
        expect(code).not.toBe(0);
        expect(stderr).toMatch(/No space left on device/);
        expect(await sh('cmp "$1/large" "$2/large"; stat -c %s "$1/large"', [f.mountpoint, lower])).toBe('3000000\n');
        expect(readdirSync(join(f.work, 'layerfs')).filter((name) => name !== 'whiteout')).toEqual([]);
        expect(before - free(f.disk)).toBeLessThan(100_000);
        // So that others can go on.
        await sh('head -c 500000 /dev/zero > "$1/new"; rm "$1/new"; echo ok >> "$1/plain"', [f.mountpoint]);
        await done(f);
      },
    );

    // What Node throws becomes EIO.
    test('ENOSPC also where the server writes: a set-user-ID program', async () => {
      const f = await small('size=1m');
      const script = 'cd "$1"; echo x > program; chmod 4755 program; head -c 3000000 /dev/zero > program';
      const { stderr } = await attempt('sh', ['-c', script, 'sh', f.mountpoint], { seconds: 30 });
      await done(f);
      expect(stderr).toMatch(/No space left on device/);
    });

    test('no inodes left: nothing half made', async () => {
      const f = await small('size=10m,nr_inodes=16');
      const script = `cd "$1"; i=0; while [ $i -lt 40 ]; do echo $i > new$i || break; i=$((i+1)); done; echo $i
        chmod 600 plain || echo no chmod; mkdir d || echo no mkdir; ln -s x s || echo no symlink; rm hidden || echo no rm; mv file file2 || echo no mv
        ls; cat plain dir/in link; rm -f new*; ls | grep -c new; chmod 600 plain; mkdir d; rm hidden; mv file file2; cat file2; stat -c %a plain`;
      const { stdout, stderr } = await attempt('sh', ['-c', script, 'sh', f.mountpoint], { seconds: 30 });
      expect(stderr).toMatch(/No space left on device/);
      expect(stderr).not.toMatch(/Input\/output|Transport/);
      expect(stdout).toMatch(/no mkdir[^]*\n0\nfile\n600\n$/);
      await done(f);
    });
  });

  describe('hostile uppers', () => {
    const REDIRECT = 'trusted.overlay.redirect';
    const mark = (path: string, attribute: string, value: string): string =>
      value.length > 2000
        ? `python3 -c "import os,sys; os.setxattr(sys.argv[1], sys.argv[2], b'/'+b'x'*${value.length})" "${path}" ${attribute}`
        : `setfattr -n ${attribute} -v "${value}" "${path}"`;
    const HUGE = 'x'.repeat(5000);
    /** `bad`: names that may give an error. All others must be as in the lower, or as `sees` says. */
    const cases: [what: string, script: string, bad: string[], sees?: Record<string, string>][] = [
      ...[
        '..',
        '/..',
        '../secret',
        '/../secret',
        '/dir/../..',
        '/dir/../../secret',
        '.',
        '/',
        '//',
        '/dir//sub',
        'a/b',
        '',
      ].map((value): [string, string, string[]] => [
        `a redirect of "${value}"`,
        `mkdir bad; ${mark('bad', REDIRECT, value)}; echo in > bad/own`,
        ['bad'],
      ]),
      ['a redirect with NUL', `mkdir bad; setfattr -n ${REDIRECT} -v 0x2f64697200 bad`, ['bad']],
      ['a redirect of 5000 bytes', `mkdir bad; ${mark('bad', REDIRECT, HUGE)}`, ['bad']],
      [
        'a redirect to a file',
        `mkdir bad; ${mark('bad', REDIRECT, '/file')}; echo own > bad/own`,
        ['bad'],
        { 'bad/own': 'own\n' },
      ],
      [
        'a redirect to nothing',
        `mkdir bad; ${mark('bad', REDIRECT, '/none/such')}; echo own > bad/own`,
        ['bad'],
        { 'bad/own': 'own\n' },
      ],
      ['a redirect through a symlink', `mkdir bad; ${mark('bad', REDIRECT, '/link/x')}`, ['bad']],
      [
        'redirects in a circle',
        `mkdir bad bad2; ${mark('bad', REDIRECT, '/bad2')}; ${mark('bad2', REDIRECT, '/bad')}`,
        ['bad', 'bad2'],
      ],
      ['a redirect to itself', `mkdir bad; ${mark('bad', REDIRECT, '/bad')}; ${mark('bad', REDIRECT, 'bad')}`, ['bad']],
      ['a folder below that which it continues', `mkdir -p dir/sub; ${mark('dir/sub', REDIRECT, '/dir')}`, ['dir/sub']],
      [
        'two that continue the same folder',
        `mkdir bad bad2; for i in bad bad2; do ${mark('$i', REDIRECT, '/dir')}; done`,
        ['bad', 'bad2'],
      ],
      ['a metacopy without lower', `echo 12345 > bad; ${mark('bad', 'trusted.overlay.metacopy', '')}`, ['bad']],
      ['a metacopy over a folder', `echo 12345 > dir; ${mark('dir', 'trusted.overlay.metacopy', '')}`, ['dir']],
      [
        'a metacopy that leads to a folder',
        `echo 1 > bad; ${mark('bad', 'trusted.overlay.metacopy', '')}; ${mark('bad', REDIRECT, '/dir')}`,
        ['bad'],
      ],
      [
        'a metacopy that leads out',
        `echo 1 > bad; ${mark('bad', 'trusted.overlay.metacopy', '')}; ${mark('bad', REDIRECT, '/../secret')}`,
        ['bad'],
      ],
      [
        'a metacopy larger than its lower',
        `truncate -s 1000000 file; ${mark('file', 'trusted.overlay.metacopy', '')}`,
        ['file'],
      ],
      [
        'a metacopy with a header of the future',
        `truncate -s 5 file; setfattr -n trusted.overlay.metacopy -v 0xff040000 file`,
        ['file'],
      ],
      ...['n', '', 'yy', 'x', HUGE].map((value): [string, string, string[]] => [
        `opaque: "${value.slice(0, 9)}"`,
        `mkdir dir; ${mark('dir', 'trusted.overlay.opaque', value)}`,
        ['dir'],
      ]),
      ['opaque on a file', `echo own > plain; ${mark('plain', 'trusted.overlay.opaque', 'y')}`, [], { plain: 'own\n' }],
      ['a device that is nearly a whiteout', 'mknod bad c 0 1; mknod hidden b 0 0', ['bad', 'hidden']],
      [
        'a whiteout by attribute where none may be',
        `echo > hidden; ${mark('hidden', 'trusted.overlay.whiteout', 'y')}`,
        ['hidden'],
      ],
      ['a whiteout for nothing', 'mknod bad c 0 0; mkdir -p bad2; mknod bad2/deeper c 0 0', ['bad', 'bad2']],
      [
        'odd names of whiteouts',
        'for i in "" . .. .wh. .wh..wh. .wh..plnk; do : > ".wh.$i"; done',
        ['.wh.', '.wh..', '.wh...', '.wh..wh.'],
      ],
      [
        'a folder with the name of a whiteout',
        'mkdir .wh.hidden .wh..wh..opq; echo in > .wh.hidden/in',
        ['hidden', '.wh.hidden', '.wh..wh..opq', '*'],
      ],
      ['a link with the name of a whiteout', 'ln -s /etc/passwd .wh.hidden', ['hidden', '.wh.hidden']],
      ['a pipe', 'mkfifo bad; mkfifo .wh.hidden', ['bad', 'hidden', '.wh.hidden'], { bad: '0o10000' }],
      [
        'numbers that are none',
        `echo own > plain; ${mark('plain', 'trusted.overlay.layerfs.ino', HUGE)}; mkdir dir; ${mark('dir', 'trusted.overlay.layerfs.ino', '12345678')}`,
        ['dir'],
        { plain: 'own\n' },
      ],
      [
        'the same number twice',
        `for i in bad bad2; do echo $i > $i; setfattr -n trusted.overlay.layerfs.ino -v 0x0200000000000000 $i; done`,
        ['bad', 'bad2'],
      ],
      [
        'the number of the root',
        `mkdir bad; setfattr -n trusted.overlay.layerfs.ino -v 0x0100000000000000 bad; echo x > bad/x; setfattr -n trusted.overlay.layerfs.ino -v 0xffffffffffffffff bad/x`,
        ['bad'],
      ],
      [
        'an origin of somewhere',
        `echo own > plain; setfattr -n trusted.overlay.origin -v 0x00fb2100817a plain`,
        [],
        { plain: 'own\n' },
      ],
      [
        'attributes of the user class',
        `mkdir bad; ${mark('bad', 'user.overlay.redirect', '/../..')}; ${mark('bad', 'user.fuseoverlayfs.opaque', 'zz')}`,
        ['bad'],
      ],
      [
        'a file where the lower has a folder, and the other way round',
        'echo own > dir; mkdir file',
        ['dir', 'file'],
        { dir: 'own\n', file: '/' },
      ],
      [
        'a link out',
        'ln -s ../../../../../../etc dir; ln -s /proc/self/root out',
        ['dir', 'out'],
        { dir: '-> ../../../../../../etc' },
      ],
    ];
    let whole: Record<string, string> = {};
    beforeAll(async () => {
      whole = await look(lower);
    });

    async function inspect(mountpoint: string, bad: string[], sees: Record<string, string> = {}): Promise<void> {
      // By name, as a listing may fail (see below).
      const named = [...Object.keys(whole), ...Object.keys(sees), ...bad].filter((name) => name !== '*');
      const seen = await look(mountpoint, named);
      delete seen[''];
      expect(Object.values(seen).filter((value) => value.includes('secret') || value.includes('root:'))).toEqual([]);
      if (bad.includes('*')) return;
      const isBad = (path: string): boolean => bad.some((name) => path === name || path.startsWith(`${name}/`));
      for (const [path, value] of Object.entries({ ...whole, ...sees })) {
        if (!isBad(path) || path in sees) expect([path, seen[path]]).toEqual([path, value]);
      }
      for (const [path, value] of Object.entries(seen)) {
        if (!isBad(path)) expect([path, /^E[A-Z]+$/.test(value)]).toEqual([path, false]);
        else expect(value).not.toMatch(/^E(?!IO|NOENT|NOTDIR)[A-Z]+$/);
      }
    }

    test.each(cases)('%s', async (_, script, bad, sees) => {
      const f = folders();
      await sh(`cd "$1"; ${script}`, [f.upper]);
      const { code, stderr } = await place.fuse(f.options, f.mountpoint);
      if (code !== 0) {
        expect(stderr).toMatch(/^fuse-layerfs: /);
        expect(stderr).not.toMatch(/^ +at |internal/m);
        expect(ourMounts()).toEqual([]);
        return;
      }
      await inspect(f.mountpoint, bad, sees);
      // Changing it is no way out either; what is not bad can be changed. Links are left alone: they lead
      // to the folders of this machine, for the mount as for any other filesystem.
      const names = bad.filter((name) => name !== '*');
      const change =
        'cd "$1"; echo x > new; mv new new2; shift; for i in "$@"; do if [ -L "$i" ]; then mv "$i" moved; rm moved; continue; fi; if [ -p "$i" ]; then rm "$i"; continue; fi; echo x > "$i/in"; echo x >> "$i"; chmod 700 "$i"; mv "$i" moved; mv moved "$i"; rm -rf "$i"; done 2>/dev/null; test "$(cat new2)" = x';
      expect(await attempt('sh', ['-c', change, 'sh', f.mountpoint, ...names], { seconds: 30 })).toMatchObject({
        code: 0,
      });
      expect(readFileSync(join(place.folder, 'secret'), 'utf8')).toBe('secret\n');
      expect((await look(lower))['plain']).toBe('plain\n');
      await umount(f.mountpoint);
    });

    // One bad attribute and a folder cannot be listed at all any more: EIO, with all that lies beside it.
    const unlistable: [what: string, script: string][] = [
      ['redirect', `mkdir bad; ${mark('bad', REDIRECT, '/../x')}`],
      ['redirect of 5000 bytes', `mkdir bad; ${mark('bad', REDIRECT, HUGE)}`],
      ['metacopy', `echo 1 > bad; ${mark('bad', 'trusted.overlay.metacopy', '')}`],
    ];
    test.each(unlistable)('a folder with a bad %s in it is listed', async (_, script) => {
      const f = folders();
      await sh(`cd "$1"; ${script}`, [f.upper]);
      expect(await place.fuse(f.options, f.mountpoint)).toMatchObject({ code: 0 });
      const { stdout } = await attempt('ls', [f.mountpoint], { seconds: 20 });
      await umount(f.mountpoint);
      expect(stdout.split('\n')).toContain('plain');
    });

    test('all of them in one snapshot of layerfs, below a folder each', { timeout: 2 * MINUTES }, async () => {
      await place.unmount(await place.rw('lower', 'hostile'));
      const { upper } = await place.snapshot('hostile');
      for (const [index, [, script]] of cases.entries()) {
        if (script.length < 5000 && !script.includes('5000') && !script.includes('.wh.')) {
          await sh(`mkdir "$1/case${index}"; cd "$1/case${index}"; ${script}`, [upper]);
        }
      }
      const mountpoint = await place.rw('lower', 'hostile');
      const seen = await look(mountpoint);
      for (const [path, value] of Object.entries(whole)) expect([path, seen[path]]).toEqual([path, value]);
      expect(Object.values(seen).filter((value) => value.includes('secret') || value.includes('root:'))).toEqual([]);
      const errors = new Set(Object.values(seen).filter((value) => /^E[A-Z]+$/.test(value)));
      expect([...errors].filter((error) => error !== 'EIO')).toEqual([]);
      for (const command of ['diff', 'commit']) {
        const result = await place.try([command, 'hostile', ...(command === 'commit' ? ['hostile'] : [])]);
        expect(result.stderr).not.toMatch(/^ +at |internal error/m);
        expect([0, 1, 4, 6]).toContain(result.code);
      }
      await place.unmount(mountpoint);
      await place.ok(['rm', 'hostile']);
    });
  });

  describe('names and depths', () => {
    test('names of 255 bytes, and those that look like ours', async () => {
      const f = folders();
      expect(await place.fuse(f.options, f.mountpoint)).toMatchObject({ code: 0 });
      const script = `cd "$1"; l=$(printf '%0255d' 0 | tr 0 m); n=$(printf '%0255d' 0 | tr 0 n)
        echo x > $l; cat $l $n; rm $n; cat $n 2>&1 | grep -o 'No such'; mv $l $n; mkdir $l; echo in > $l/$l; mv $l/$l $l/$n; cat $l/$n; echo more >> $n; cat $n
        ln $n $l/$l; ln -s $n $l/s; for f in "touch $l.x" "mkdir x$l" "mv $n x$n" "ln $n x$n" "ln -s x x$n" "cat x$n"; do $f 2>&1 | grep -o 'File name too long'; done
        echo w > .wh.plain; mkdir .wh.dir .wh..wh..opq; echo w > .wh..wh..plnk; cat .wh.plain plain dir/in`;
      const said = await sh(script, [f.mountpoint]);
      expect(said).toBe(`x\nlong\nNo such\nin\nx\nmore\n${'File name too long\n'.repeat(6)}w\nplain\nin\n`);
      await umount(f.mountpoint);
      expect(await place.fuse(f.options, f.mountpoint)).toMatchObject({ code: 0 });
      expect(await sh('cd "$1"; cat .wh.plain plain dir/in .wh..wh..plnk; ls -A .wh..wh..opq', [f.mountpoint])).toBe(
        'w\nplain\nin\nw\n',
      );
      await umount(f.mountpoint);
    });

    const DEEP = `
import os, sys
os.chdir(sys.argv[1]); depth = int(sys.argv[2]); name = sys.argv[3]
def down():
    for i in range(depth): os.chdir(name)
if sys.argv[4] == 'make':
    for i in range(depth): os.mkdir(name); os.chdir(name)
    open('file', 'w').write('deep'); os.chmod('file', 0o600)
elif sys.argv[4] == 'read':
    down(); print(open('file').read(), oct(os.stat('file').st_mode & 0o777), len(os.listdir('..')))
elif sys.argv[4] == 'change':
    down(); os.chmod('file', 0o640); open('file', 'a').write('er'); os.rename('file', 'renamed'); os.rename('renamed', 'file'); os.link('file', 'hard'); os.unlink('hard')
    os.chdir('..'); os.rename(name, 'moved'); os.rename('moved', name)
elif sys.argv[4] == 'chmod':
    down(); os.chmod('file', 0o640); os.rename('file', 'renamed'); os.rename('renamed', 'file')
    os.chdir('..'); os.rename(name, 'moved'); os.rename('moved', name)
`;
    const deep = (...args: string[]): Promise<string> => python(DEEP, args, { seconds: 60 });

    test.each([
      [200, 'd'],
      [200, 'd'.repeat(200)],
      [1500, 'd'],
    ])('%d folders in each other, named %s', { timeout: 2 * MINUTES }, async (depth, name) => {
      const f = folders();
      expect(await place.fuse(f.options, f.mountpoint)).toMatchObject({ code: 0 });
      await deep(f.mountpoint, String(depth), name, 'make');
      await deep(f.mountpoint, String(depth), name, 'change');
      await umount(f.mountpoint);
      expect(await place.fuse(f.options, f.mountpoint)).toMatchObject({ code: 0, stderr: '' });
      expect(await deep(f.mountpoint, String(depth), name, 'read')).toBe('deeper 0o640 1\n');
      await sh('rm -r "$1"/d*/', [f.mountpoint]).catch(() => undefined);
      await umount(f.mountpoint);
    });

    async function changedBelow(depth: number, name: string): Promise<void> {
      const f = folders();
      const own = join(tmpfs, `deep${count}`);
      mkdirSync(own);
      await deep(own, String(depth), name, 'make');
      const options = f.options.replace(lower, own);
      expect(await place.fuse(options, f.mountpoint)).toMatchObject({ code: 0 });
      await deep(f.mountpoint, String(depth), name, 'chmod');
      expect(await deep(f.mountpoint, String(depth), name, 'read')).toBe('deep 0o640 1\n');
      await umount(f.mountpoint);
      expect(await place.fuse(options, f.mountpoint)).toMatchObject({ code: 0 });
      expect(await deep(f.mountpoint, String(depth), name, 'read')).toBe('deep 0o640 1\n');
      await umount(f.mountpoint);
    }

    test.each([
      [200, 'd'],
      [15, 'd'.repeat(200)],
    ])('%d folders of the lower in each other, changed, and mounted again', { timeout: 2 * MINUTES }, changedBelow);

    // A redirect has at most 4096 bytes: what lies deeper is copied when it moves.
    test('30 folders of the lower with long names', { timeout: 2 * MINUTES }, async () => {
      await changedBelow(30, 'd'.repeat(200));
      expect(ourMounts()).toEqual([]);
    });

    test('an upper of others with 1500 folders in each other', { timeout: 2 * MINUTES }, async () => {
      const f = folders();
      await deep(f.upper, '1500', 'd', 'make');
      expect(await place.fuse(f.options, f.mountpoint)).toMatchObject({ code: 0, stderr: '' });
      expect(await deep(f.mountpoint, '1500', 'd', 'read')).toBe('deep 0o600 1\n');
      await umount(f.mountpoint);
    });
  });

  test('nothing is left mounted, and nothing runs', async (context) => {
    need(context, 'ps');
    expect(ourMounts()).toEqual([]);
    await sleep(200);
    const { stdout } = await attempt('ps', ['-eo', 'args']);
    expect(stdout.split('\n').filter((line) => line.includes(place.folder) && !line.startsWith('ps '))).toEqual([]);
    expect(existsSync(lower)).toBe(true);
    rmSync(join(place.folder, 'secret'));
  });
});
