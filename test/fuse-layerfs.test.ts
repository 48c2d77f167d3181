/**
 * `fuse-layerfs` as podman's and buildah's mount program: images are built, containers run, write, are compared and
 * committed. FUSE_LAYERFS_PROGRAM names another program to be tested so, such as /usr/bin/fuse-overlayfs.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { debianBase, ImageUnavailable } from './images/debian.js';
import { missing } from './support/needs.js';
import { PodmanStorage } from './support/podman.js';

const OURS = join(import.meta.dirname, '../packages/cli/bin/fuse-layerfs.js');
const PROGRAM = process.env['FUSE_LAYERFS_PROGRAM'] ?? OURS;
/** Things that fuse-overlayfs gets wrong and that we must get right. */
const strict = basename(PROGRAM) !== 'fuse-overlayfs';

function whyNot(): string | undefined {
  if (!existsSync(PROGRAM)) return `there is no ${PROGRAM}`;
  return missing('root', 'fuse', 'podman', 'buildah', 'runc');
}

const reason = whyNot();
if (reason !== undefined) console.warn(`skipped: fuse-layerfs as a mount program: ${reason}`);

const DOCKERFILE = `
FROM localhost/base
COPY files /opt/files
RUN useradd --create-home user && mkdir -p /srv/data && echo one > /srv/data/one && ln /srv/data/one /srv/data/two
RUN mv /usr/share/common-licenses /srv/licenses && rm -rf /usr/share/doc && mkdir /usr/share/doc && echo new > /usr/share/doc/new
RUN chmod 4711 /bin/true && chown user /srv/data/one && echo more >> /srv/data/two && rm /etc/issue && ln -s one /srv/data/link
RUN rm -rf /opt/files/old && echo file > /opt/files/old && touch -d @1000 /opt/files/new
USER user
CMD ["cat", "/srv/data/one"]
`;
const FILES = { 'files/new': 'new\n', 'files/old/inside': 'old\n', 'files/b/c': 'c\n' };

describe.skipIf(reason !== undefined)(`podman and buildah with ${basename(PROGRAM)}`, () => {
  let storage: PodmanStorage | undefined;
  let unavailable: string | undefined;

  beforeAll(async () => {
    let base: string;
    try {
      base = await debianBase(() => undefined);
    } catch (error) {
      if (!(error instanceof ImageUnavailable)) throw error;
      unavailable = error.message;
      console.warn(`skipped: podman and buildah with ${basename(PROGRAM)}: ${unavailable}`);
      return;
    }
    storage = new PodmanStorage(PROGRAM);
    await storage.podman('import', base, 'localhost/base:latest');
    await storage.build('localhost/built', DOCKERFILE, FILES);
  }, 600_000);
  afterAll(async () => {
    await storage?.remove();
  });

  function ready(context: TestContext): PodmanStorage {
    if (storage === undefined) context.skip(unavailable);
    return storage;
  }

  it('a Dockerfile of several steps: each sees what those before it did', async (context) => {
    const place = ready(context);
    expect(await place.command('localhost/built')).toBe('one\nmore\n');
    const said = await place.shell(
      'localhost/built',
      `stat -c '%n %a %U %h' /srv/data/one /srv/data/two /bin/true
       readlink /srv/data/link
       test ! -e /etc/issue && test ! -e /usr/share/common-licenses && echo gone
       ls /srv/licenses | grep -c GPL-
       cat /opt/files/new /opt/files/old /opt/files/b/c
       stat -c %Y /opt/files/new
       stat -c %i /srv/data/one /srv/data/two | uniq | wc -l
       id -un`,
    );
    const [one, two, program, link, gone, licenses, ...rest] = said.trim().split('\n');
    expect([one, two]).toEqual(['/srv/data/one 644 user 2', '/srv/data/two 644 user 2']);
    expect(program).toBe('/bin/true 4711 root 1');
    expect([link, gone]).toEqual(['one', 'gone']);
    expect(Number(licenses)).toBeGreaterThan(1);
    expect(rest).toEqual(['new', 'file', 'c', '1000', '1', 'user']);
  });

  it('a folder that was removed and made again is empty', async (context) => {
    const list = (await ready(context).shell('localhost/built', 'ls -A /usr/share/doc')).trim().split('\n');
    expect(list).toContain('new');
    // Some of what was in it before comes back with fuse-overlayfs 1.10.
    if (strict) expect(list).toEqual(['new']);
  });

  it('a container writes, podman diff tells what, and commit keeps it', async (context) => {
    const place = ready(context);
    await place.container(
      'writer',
      'localhost/built',
      `echo new > /new
       echo changed >> /etc/motd
       rm -r /opt/files/b
       mv /srv/licenses /licenses
       mkdir -p /var/deep/er && echo deep > /var/deep/er/file
       chmod 750 /home/user
       mkfifo /pipe
       mknod /whiteout-like c 1 3 || true`,
    );
    const diff = new Set((await place.podman('diff', 'writer')).trim().split('\n'));
    for (const line of [
      'A /new',
      'C /etc/motd',
      'D /opt/files/b',
      'D /srv/licenses',
      'A /licenses',
      'A /licenses/BSD',
    ]) {
      expect([...diff]).toContain(line);
    }
    expect([...diff].filter((line) => line.startsWith('A /usr') || line.startsWith('D /usr'))).toEqual([]);

    await place.podman('commit', 'writer', 'localhost/changed');
    const said = await place.shell(
      'localhost/changed',
      `cat /new /var/deep/er/file; tail -n 1 /etc/motd; ls -A /opt/files /srv; stat -c '%a %U' /home/user
       test -p /pipe && echo pipe; wc -l < /licenses/BSD`,
      '--user=root',
    );
    expect(said.split('\n').slice(0, 13)).toEqual([
      'new',
      'deep',
      'changed',
      '/opt/files:',
      'new',
      'old',
      '',
      '/srv:',
      'data',
      '750 user',
      'pipe',
      '26',
      '',
    ]);
  });

  it('a stopped container starts again with what it wrote, and nothing stays mounted', async (context) => {
    const place = ready(context);
    await place.container('again', 'localhost/built', 'echo x >> /count; wc -l < /count; rm -f /etc/hostname.old');
    for (const count of [2, 3]) {
      expect((await place.podman('start', '--attach', 'again')).trim()).toBe(String(count));
    }
    expect(await place.podman('diff', 'again')).toContain('A /count\n');
    expect(place.mounts()).toEqual([]);
    const mounted = (await place.podman('mount', 'again')).trim();
    expect(readFileSync(join(mounted, 'count'), 'latin1')).toBe('x\nx\nx\n');
    writeFileSync(join(mounted, 'from-outside'), 'y');
    await place.podman('unmount', 'again');
    expect(place.mounts()).toEqual([]);
    await place.podman('rm', 'again');
  });

  it('several containers of one image do not see each other', async (context) => {
    const place = ready(context);
    const numbers = [1, 2, 3];
    const said = await Promise.all(
      numbers.map((i) => place.shell('localhost/built', `echo ${String(i)} >> /tmp/mine; sleep 1; cat /tmp/mine`)),
    );
    expect(said).toEqual(numbers.map((i) => `${String(i)}\n`));
  });
});

describe.skipIf(reason !== undefined)(`${basename(PROGRAM)} called by hand`, () => {
  let folder: string;
  let merged: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'layerfs-fuse-layerfs-'));
    merged = join(folder, 'merged');
    for (const name of ['low', 'top', 'co:lon', 'upper', 'work', 'merged']) mkdirSync(join(folder, name));
    writeFileSync(join(folder, 'low/a'), 'low');
    writeFileSync(join(folder, 'low/b'), 'low');
    writeFileSync(join(folder, 'top/a'), 'top');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function call(...args: string[]): string {
    return execFileSync(PROGRAM, args, { encoding: 'utf8', timeout: 60_000, cwd: folder, stdio: 'pipe' });
  }

  it('mounts relative folders before it ends, and lets go when unmounted', () => {
    call('-o', 'lowerdir=top:low,upperdir=upper,workdir=work', merged);
    try {
      expect([readFileSync(join(merged, 'a'), 'latin1'), readFileSync(join(merged, 'b'), 'latin1')]).toEqual([
        'top',
        'low',
      ]);
      writeFileSync(join(merged, 'c'), 'new');
      expect(readFileSync(join(folder, 'upper/c'), 'latin1')).toBe('new');
    } finally {
      execFileSync('umount', [merged]);
    }
  });

  it('maps owners both ways', () => {
    call('-olowerdir=low,upperdir=upper,workdir=work,uidmapping=:0:1000:10,gidmapping=:0:2000:10', 'source', merged);
    try {
      expect(execFileSync('stat', ['-c', '%u %g', join(merged, 'b')], { encoding: 'utf8' })).toBe('1000 2000\n');
      execFileSync('chown', ['1005:2006', join(merged, 'b')]);
      expect(execFileSync('stat', ['-c', '%u %g', join(folder, 'upper/b')], { encoding: 'utf8' })).toBe('5 6\n');
    } finally {
      execFileSync('umount', [merged]);
    }
  });

  it.skipIf(!strict)('takes colons and commas behind a backslash for parts of names', () => {
    writeFileSync(join(folder, 'co:lon/only'), 'here');
    call('-o', 'lowerdir=co\\:lon:low,fsname=a\\,b', merged);
    try {
      expect(readFileSync(join(merged, 'only'), 'latin1')).toBe('here');
      expect(readFileSync('/proc/self/mounts', 'latin1')).toContain(`a,b ${merged} fuse.`);
    } finally {
      execFileSync('umount', [merged]);
    }
  });

  it('is found by mount(8) as a type of its own, as /etc/fstab names it', (context) => {
    const type = basename(PROGRAM, '.js');
    // mount(8) looks in the system's folders only.
    const link = `/usr/local/bin/${type}`;
    const installed = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].some((place) =>
      existsSync(join(place, type)),
    );
    if (installed && strict) {
      console.warn(`skipped: ${context.task.name}: another ${type} is installed`);
      context.skip();
    }
    const absolute = (name: string): string => join(folder, name);
    const options = `lowerdir=${absolute('low')},upperdir=${absolute('upper')},workdir=${absolute('work')},noauto`;
    writeFileSync(absolute('fstab'), `source ${merged} fuse.${type} ${options} 0 0\n`);
    if (!installed) symlinkSync(PROGRAM, link);
    try {
      execFileSync('mount', ['--fstab', absolute('fstab'), merged]);
      writeFileSync(join(merged, 'by-fstab'), 'x');
      expect(readFileSync(absolute('upper/by-fstab'), 'latin1')).toBe('x');
      execFileSync('umount', [merged]);
    } finally {
      if (!installed) unlinkSync(link);
    }
  });

  it('without upperdir is read-only', () => {
    call('-o', 'lowerdir=top:low', merged);
    try {
      expect(() => writeFileSync(join(merged, 'no'), '')).toThrow('EROFS');
    } finally {
      execFileSync('umount', [merged]);
    }
  });

  it('says why it fails, and what it does not know', () => {
    expect(() => call('-o', 'lowerdir=missing:low', merged)).toThrow(
      /No such file or directory|ENOENT|not exist|not found/,
    );
    expect(() => call('-o', 'lowerdir=low')).toThrow('no mountpoint specified');
    expect(call('--version')).toMatch(/version/);
    expect(call('-h')).toMatch(/^usage: /);
  });
});
