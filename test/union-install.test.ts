/**
 * Package managers in a writable mount: what `apt-get` and `npm` install, and leave when it is removed, is what they install and leave in a
 * plain folder. Nothing is asked of any network but this machine's own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Excuse } from './compare/compare.js';
import { BROKEN_PACKAGE, debianRepository, ImageUnavailable, NEW_PACKAGES, testImage } from './images/index.js';
import { tarOf } from './images/tar.js';
import { BUILT_NAME, installedPackages } from './npm/packages.js';
import { makeProject, npmIn } from './npm/project.js';
import { startRegistry, type Registry } from './npm/registry.js';
import { LEAVE_FOREIGN_MOUNTS } from './support/foreign-mounts.js';
import { missing } from './support/needs.js';
import { sh, UnionPlace } from './support/union-place.js';
import { expectSaidInBoth, expectSame, expectSameAfterRemount, writtenSince } from './support/union-same.js';

const MINUTES = 60_000;

const reason = missing('root', 'fuse', 'getfattr');
if (reason !== undefined) console.warn(`skipped: package managers in writable mounts: ${reason}`);

describe.skipIf(reason !== undefined)('apt-get in a chroot', () => {
  const place = new UnionPlace();
  const began = Date.now();
  let mounted = '';
  let plain = '';
  let repository = '';
  let unavailable = missing('unshare', 'chroot');

  const excuses: Excuse[] = [
    writtenSince(began),
    {
      reason: 'logs tell the time',
      matches: ({ path, field }) =>
        /^var\/log\/(dpkg\.log|apt\/(history|term)\.log)$/.test(path) && (field === 'content' || field === 'size'),
    },
    {
      reason: 'notes of times and inode numbers of other files',
      matches: ({ path, field }) =>
        /^var\/cache\/(ldconfig\/aux-cache|apt\/(src)?pkgcache\.bin)$/.test(path) && field === 'content',
    },
  ];

  beforeAll(async () => {
    try {
      if (unavailable !== undefined) throw new ImageUnavailable(unavailable);
      const { path } = await testImage('debian');
      repository = await debianRepository();
      await place.ok(['import', path, '--name', 'debian']);
    } catch (error) {
      if (!(error instanceof ImageUnavailable)) throw error;
      unavailable = error.message;
      console.warn(`skipped: apt-get in a chroot: ${unavailable}`);
      return;
    }
    mounted = await place.rw('debian', 'apt', ['--suid', '--dev']);
    plain = join(place.folder, 'plain');
    await place.ok(['checkout', 'debian', plain]);
  });
  afterAll(() => place.remove());

  /** Runs a script in a chroot without a network; the repository is at /mnt. Gives what it said. */
  function inside(root: string, script: string): Promise<string> {
    const enter = `${LEAVE_FOREIGN_MOUNTS}
      mount -t proc proc "$1/proc"; mount --bind "$2" "$1/mnt"; mount -o remount,bind,ro "$1/mnt"
      exec env -i LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$1" sh -euc "$3"`;
    const settings = `
      apt_get() {
        apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" > /root/said || { cat /root/said; exit 1; }
        sed '/^Fetched/d' /root/said; rm /root/said
      }`;
    const unshared = 'exec unshare --mount --net --propagation slave sh -euc "$4" sh "$1" "$2" "$3" 2>&1';
    return sh(unshared, [root, repository, `${settings}\n${script}`, enter], { seconds: 200 });
  }

  const inBoth = (script: string): Promise<string> =>
    expectSaidInBoth([mounted, plain], (root) => inside(root, script));

  test('install: dependencies, maintainer scripts, triggers', { timeout: 8 * MINUTES }, async (context) => {
    if (unavailable !== undefined) context.skip(unavailable);
    const said = await inBoth(`
      rm -rf /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] copy:/mnt ./' > /etc/apt/sources.list
      apt_get update; apt_get install --reinstall ${BROKEN_PACKAGE}; perl -e 'print "perl runs\\n"'
      apt_get install ${NEW_PACKAGES.join(' ')}; apt_get clean; dpkg --audit; dpkg --verify ${NEW_PACKAGES.join(' ')}
      stat -c '%n %A %G' /usr/bin/crontab; ls /etc/ssl/certs | wc -l; logrotate --version 2>&1 | head -1
      openssl verify -no_check_time /usr/share/ca-certificates/mozilla/*.crt | grep -vc ': OK$' || true`);
    expect(said).toContain('perl runs\n');
    for (const name of [...NEW_PACKAGES, 'openssl', 'cron-daemon-common', 'libpopt0']) {
      expect(said).toContain(`Setting up ${name}`);
    }
    expect(said).toMatch(/Processing triggers for libc-bin/);
    expect(said).toMatch(/Processing triggers for ca-certificates/);
    expect(said).toMatch(/\n\/usr\/bin\/crontab -rwxr-sr-x crontab\n\d{3,}\nlogrotate [\d.]+\n0\n$/);
    expect(readFileSync(join(mounted, 'etc/group'), 'utf8')).toMatch(/^crontab:x:/m);
    await expectSame(mounted, plain, excuses);
  });

  test('mounted again it is the same', { timeout: 5 * MINUTES }, async (context) => {
    if (unavailable !== undefined) context.skip(unavailable);
    await expectSameAfterRemount(place, mounted, ['debian', 'apt', '--suid', '--dev']);
  });

  test('purge leaves what it leaves in a plain folder', { timeout: 5 * MINUTES }, async (context) => {
    if (unavailable !== undefined) context.skip(unavailable);
    const said = await inBoth(`apt_get purge --autoremove ${NEW_PACKAGES.join(' ')}; dpkg --audit
      dpkg -l ${NEW_PACKAGES.join(' ')} 2>&1 | grep -c ^[a-z]i || true
      ls -d /etc/ssl/certs/ca-certificates.crt /etc/logrotate.conf /usr/bin/crontab 2>&1 || true`);
    for (const name of NEW_PACKAGES) expect(said).toContain(`Purging configuration files for ${name}`);
    expect(said.split('\n').slice(-5)).toEqual([
      '0',
      ...['/etc/ssl/certs/ca-certificates.crt', '/etc/logrotate.conf', '/usr/bin/crontab'].map(
        (path) => `ls: cannot access '${path}': No such file or directory`,
      ),
      '',
    ]);
    await expectSame(mounted, plain, excuses);
    expect(await place.damagedObjects()).toBe('');
  });
});

const noNpm = reason ?? missing('npm');
if (reason === undefined && noNpm !== undefined) console.warn(`skipped: npm in a writable mount: ${noNpm}`);

describe.skipIf(noNpm !== undefined)('npm', () => {
  const place = new UnionPlace();
  const excuses: Excuse[] = [
    writtenSince(Date.now()),
    {
      reason: 'npm notes when it fetched something',
      matches: ({ path, field }) => path.startsWith('home/cache/_cacache/index-v5/') && field !== 'exists',
    },
  ];
  let mounted = '';
  let plain = '';
  let registry: Registry | undefined;

  beforeAll(async () => {
    // Of the image nothing is needed but a folder or two for what is installed to stand beside.
    const image = join(place.folder, 'image.tar');
    writeFileSync(image, tarOf({ name: 'project/' }, { name: 'project/README', data: 'to be built\n' }));
    await place.ok(['import', image, '--name', 'lower']);
    mounted = await place.rw('lower', 'npm');
    plain = join(place.folder, 'plain');
    await place.ok(['checkout', 'lower', plain]);
    const packages = await installedPackages();
    registry = await startRegistry(packages);
    for (const folder of [mounted, plain]) makeProject(join(folder, 'project'), packages);
  });
  afterAll(async () => {
    await registry?.close();
    await place.remove();
  });

  /** A script in the project's folder, for which `npm` is npm with all its files below the same root. */
  function inside(root: string, script: string): Promise<string> {
    const npm = `npm() { ${npmIn(join(root, 'home'), registry!.url)} "$@"; }`;
    return sh(`${npm}\n${script}`, [], { cwd: join(root, 'project'), seconds: 200 });
  }

  const inBoth = (script: string): Promise<string> =>
    expectSaidInBoth([mounted, plain], (root) => inside(root, script));

  test('install, ls, run, uninstall', { timeout: 8 * MINUTES }, async () => {
    const added = await inBoth(`npm install --no-progress | sed 's/ in .*//'`);
    expect(Number(/^added (\d+) packages$/m.exec(added)?.[1])).toBeGreaterThan(200);
    const listed = await inBoth('npm ls --all --parseable | sed "s|$PWD||" | sort');
    expect(listed.split('\n').length).toBeGreaterThan(200);
    const run = `node_modules/.bin/${BUILT_NAME}; echo 'a  =  1' > some.js
      node_modules/.bin/prettier --write some.js | sed 's/ .*//'; cat some.js; npm exec --offline -- prettier --check some.js`;
    expect(await inBoth(run)).toBe(
      '1176\nsome.js\na = 1;\nChecking formatting...\nAll matched files use Prettier code style!\n',
    );
    await expectSame(mounted, plain, excuses);
    const removed = await inBoth(
      `npm uninstall prettier ${BUILT_NAME} | sed 's/ in .*//'; ls node_modules/.bin | grep -c -e prettier -e ${BUILT_NAME} || true`,
    );
    expect(removed).toMatch(/^removed \d+ packages\n0\n$/m);
    await expectSame(mounted, plain, excuses);
  });

  test('mounted again it is the same', { timeout: 5 * MINUTES }, async () => {
    await expectSameAfterRemount(place, mounted, ['lower', 'npm']);
  });

  test('rm -rf', { timeout: 5 * MINUTES }, async () => {
    expect(await inBoth('rm -rf node_modules ../home; ls -A')).toBe(
      'README\npackage-lock.json\npackage.json\nsome.js\n',
    );
    await expectSame(mounted, plain, excuses);
    expect(await place.damagedObjects()).toBe('');
  });
});
