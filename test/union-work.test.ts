/**
 * Real work in a writable mount: whatever programs do there gives what it gives in a plain folder, and nothing that they do changes an
 * object of the store. LAYERFS_STRESS_SECONDS says how long the random changes go on.
 */
import { cpSync, mkdirSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Excuse } from './compare/compare.js';
import { ImageUnavailable, testImage } from './images/index.js';
import { noise } from './images/odd-lower.js';
import { tarOf } from './images/tar.js';
import { missing, need } from './support/needs.js';
import { DEFAULT_TRANSPORT } from './support/transports.js';
import { python, sh, UnionPlace } from './support/union-place.js';
import { expectSame, expectSameAfterRemount } from './support/union-same.js';
import { CONTENT_STRESS, READ_WHILE_REWRITTEN, SQLITE_LOAD } from './support/union-stress.js';

const MINUTES = 60_000;
const STRESS_SECONDS = Number(process.env['LAYERFS_STRESS_SECONDS'] ?? 10);
const FILES = 24;
const REWRITES = ['trunc', 'longer', 'append', 'rename', 'unlink', 'truncate', 'patch', 'chmod', 'mmap'];
/** Read by the server, at the border, and read by the kernel itself. */
const SIZES = { small: 5000, border: 128 * 1024, large: 128 * 1024 + 1, huge: 3_000_000 };

const reason = missing('root', 'fuse', 'python3', 'getfattr');
if (reason !== undefined) console.warn(`skipped: work in writable mounts: ${reason}`);

const WHEN_WRITTEN: Excuse = { reason: 'written at another time', matches: ({ field }) => field === 'mtime' };

describe.skipIf(reason !== undefined)('work in a writable mount', () => {
  const place = new UnionPlace();
  let mounted = '';
  let plain = '';

  beforeAll(async () => {
    const pieces = Array.from({ length: FILES }, (_, i) => ({
      name: `stress/f${i}`,
      data: noise([0, 10, 5000, 128 * 1024, 128 * 1024 + 1, 400_000][i % 6] + (i > 6 ? i : 0), i + 1),
    }));
    const rewritten = Object.entries(SIZES).flatMap(([name, size]) =>
      REWRITES.map((how) => ({ name: `rewritten/${name}-${how}`, data: noise(size, how.length) })),
    );
    const image = join(place.folder, 'image.tar');
    writeFileSync(image, tarOf({ name: 'stress/' }, ...pieces, { name: 'rewritten/' }, ...rewritten));
    await place.ok(['import', image, '--name', 'lower']);
    mounted = await place.rw('lower', 'work');
    plain = place.newFolder('plain');
  });
  afterAll(() => place.remove());

  test('git: init, add, commit, clone, gc, fsck', { timeout: 5 * MINUTES }, async (context) => {
    need(context, 'git');
    const script = `cd "$1"; mkdir -p repo/deep/er; cd repo
      git init -q -b main .; git config gc.auto 0; git config pack.threads 1
      for i in $(seq 300); do echo "file $i $(seq $i | tr '\\n' ' ')" > deep/f$i; done; ln -s deep link; printf '#!/bin/sh\\n' > run; chmod +x run
      git add -A; git commit -qm one
      for i in $(seq 1 3 300); do echo more >> deep/f$i; done; git mv deep/f2 deep/er/g2; git rm -q deep/f5; git commit -qam two
      git checkout -q -b side HEAD~1; echo side > deep/side; git add -A; git commit -qm side; git checkout -q main; git merge -q -m merged side
      git gc -q --prune=now; git fsck --full --strict; git status --porcelain
      git clone -q . ../clone; git clone -q --no-hardlinks . ../copy; cd ../clone; git fsck --full --strict; git status --porcelain
      git rev-parse HEAD; git count-objects -v; git log --oneline --stat | sha256sum
      git reset -q --hard HEAD~1; git stash list; git clean -qfdx; git rev-parse HEAD`;
    const env: Record<string, string> = {
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_CONFIG_NOSYSTEM: '1',
      HOME: place.folder,
    };
    for (const who of ['AUTHOR', 'COMMITTER']) {
      Object.assign(env, {
        [`GIT_${who}_NAME`]: 'a',
        [`GIT_${who}_EMAIL`]: 'a@b',
        [`GIT_${who}_DATE`]: '@1700000000 +0000',
      });
    }
    const [ours, theirs] = [
      await sh(script, [mounted], { env, seconds: 200 }),
      await sh(script, [plain], { env, seconds: 200 }),
    ];
    expect(ours).toBe(theirs);
    const notes: Excuse = {
      reason: 'git notes inode numbers and times of what it wrote',
      matches: ({ path, field }) => path.endsWith('.git/index') && field === 'content',
    };
    const paths: Excuse = {
      reason: 'git notes where a clone came from',
      matches: ({ path, field }) => /\.git\/(config|logs\/.*)$/.test(path) && (field === 'content' || field === 'size'),
    };
    for (const name of ['repo', 'clone', 'copy']) {
      await expectSame(join(mounted, name), join(plain, name), [WHEN_WRITTEN, notes, paths]);
    }
  });

  test('a C program: make, gcc, run', { timeout: 3 * MINUTES }, async (context) => {
    need(context, 'make', 'gcc');
    const script = `cd "$1"; mkdir c; cd c
      for i in 1 2 3 4 5 6; do echo "int f$i(int x) { return x * $i; }" > f$i.c; done
      echo '#include <stdio.h>' > main.c; for i in 1 2 3 4 5 6; do echo "int f$i(int);" >> main.c; done
      echo 'int main(void) { printf("%d", f1(1)+f2(2)+f3(3)+f4(4)+f5(5)+f6(6)); puts(""); return 0; }' >> main.c
      printf 'OBJECTS = main.o f1.o f2.o f3.o\\nprogram: $(OBJECTS) libf.a\\n\\tgcc -o $@ $^\\nlibf.a: f4.o f5.o f6.o\\n\\tar rcD $@ $^\\n%%.o: %%.c\\n\\tgcc -g0 -c -o $@ $<\\n' > Makefile
      make -s -j2; ./program; make -q; sleep 0.01; echo '/* */' >> f3.c; make -n | grep -c gcc; make -s; ./program`;
    const [ours, theirs] = [await sh(script, [mounted]), await sh(script, [plain])];
    expect(ours).toBe('91\n2\n91\n');
    expect(theirs).toBe(ours);
    await expectSame(join(mounted, 'c'), join(plain, 'c'), [WHEN_WRITTEN]);
  });

  test('a program runs as soon as it is written', { timeout: 3 * MINUTES }, async () => {
    const script = `cd "$1"; mkdir -p run; cd run
      for i in $(seq 40); do cp /bin/true t$i; ./t$i; printf '#!/bin/sh\\necho %s\\n' $i > s$i; chmod +x s$i; ./s$i; cp /bin/true same; ./same; mv same other; ./other; done
      cp /bin/sleep busy; ./busy 30 & sleep 0.3; (echo x >> busy) 2>&1 | grep -o 'Text file busy' || true; kill $!`;
    const [ours, theirs] = [await sh(script, [mounted]), await sh(script, [plain])];
    expect(ours.split('\n').slice(0, 40)).toEqual(Array.from({ length: 40 }, (_, i) => String(i + 1)));
    expect(ours).toBe(theirs);
  });

  test('sqlite with a write-ahead log: four writers, killed and opened again', { timeout: 5 * MINUTES }, async () => {
    const database = join(mounted, 'db.sqlite');
    let rows = 0;
    for (const kill of ['0', '1', '1', '1']) {
      const total = Number(await python(SQLITE_LOAD, [database, '1.5', kill], { seconds: 120 }));
      expect(total).toBeGreaterThan(rows);
      rows = total;
    }
    await place.unmount(mounted);
    await place.rw('lower', 'work', [], mounted);
    expect(Number(await python(SQLITE_LOAD, [database, '0.5', '0'], { seconds: 120 }))).toBeGreaterThan(rows);
  });

  test('a tree of node_modules: copied in, the same, and deleted', { timeout: 5 * MINUTES }, async () => {
    const source = dirname(createRequire(import.meta.url).resolve('vitest/package.json'));
    for (const target of [mounted, plain]) await sh('cp -aL "$2" "$1/npm"', [target, realpathSync(source)]);
    await expectSame(join(mounted, 'npm'), join(plain, 'npm'));
    await sh('mv "$1/npm" "$1/moved"; cp -a --reflink=auto "$1/moved" "$1/npm"', [mounted]);
    await expectSame(join(mounted, 'npm'), join(mounted, 'moved'));
    await sh('rm -r "$1/npm" "$1/moved"', [mounted]);
    expect(readdirSync(mounted)).not.toContain('npm');
    cpSync(join(plain, 'npm'), join(mounted, 'npm'), { recursive: true, preserveTimestamps: true });
    rmSync(join(mounted, 'npm'), { recursive: true });
    expect(readdirSync(mounted)).not.toContain('npm');
  });

  test('rsync keeps everything', { timeout: 5 * MINUTES }, async (context) => {
    need(context, 'rsync');
    const source = place.newFolder('source');
    await sh(
      'cd "$1"; mkdir a; echo x > a/x; ln a/x a/y; ln -s x a/z; setfattr -n user.k -v v a/x; mkfifo p; cp -a /etc/ssl .',
      [source],
    );
    // Unless told by --modify-window=-1, rsync takes times of one second as equal and leaves them as they are.
    const rsync = 'rsync -aHAX --modify-window=-1';
    await sh(`${rsync} "$2/" "$1/rsync"; ${rsync} "$2/" "$1/rsync"`, [mounted, source]);
    await expectSame(join(mounted, 'rsync'), source);
    await sh(`echo more >> "$2/a/x"; rm "$2/p"; ${rsync} --delete --inplace "$2/" "$1/rsync"`, [mounted, source]);
    await expectSame(join(mounted, 'rsync'), source);
  });

  describe('files of the lower are open while they are changed', () => {
    test.each(Object.keys(SIZES))('%s', { timeout: 3 * MINUTES }, async (size) => {
      const files = REWRITES.map((how) => [join(mounted, 'rewritten', `${size}-${how}`), how]);
      expect(await Promise.all(files.map((args) => python(READ_WHILE_REWRITTEN, args)))).toHaveLength(REWRITES.length);
    });
  });

  describe('random changes by several processes, with a shadow copy', () => {
    const cases: [how: string, options: string[]][] = [
      ['kernel', []],
      ['server', ['--no-passthrough']],
    ];
    test.each(cases)('data through the %s', { timeout: 5 * MINUTES + STRESS_SECONDS * 2000 }, async (how, options) => {
      const seed = Number(process.env['LAYERFS_STRESS_SEED'] ?? Date.now() % 1_000_000);
      const name = `stress-${how}`;
      const mountpoint = await place.rw('lower', name, options);
      const shadow = place.newFolder('shadow');
      const files = join(mountpoint, 'stress');
      cpSync(files, shadow, { recursive: true });
      const args = [files, shadow, String(STRESS_SECONDS / 2), String(seed), '4', String(FILES)];
      try {
        await python(CONTENT_STRESS, args, { seconds: STRESS_SECONDS + 120 });
      } catch (error) {
        throw new Error(`LAYERFS_STRESS_SEED=${seed}`, { cause: error });
      }
      await place.unmount(mountpoint);
      await place.rw('lower', name, [], mountpoint);
      const compared = `for i in $(seq 0 ${FILES - 1}); do cmp "$1/f$i" "$2/f$i"; done`;
      expect(await sh(compared, [files, shadow])).toBe('');
      await place.unmount(mountpoint);
    });
  });

  describe('the root of a Debian', () => {
    let root = '';
    let checkout = '';
    let unavailable: string | undefined;
    const ready = (context: { skip: (why: string) => never }): void => {
      if (unavailable !== undefined) context.skip(unavailable);
    };

    beforeAll(async () => {
      try {
        const { path } = await testImage('debian');
        await place.ok(['import', path, '--name', 'debian']);
      } catch (error) {
        if (!(error instanceof ImageUnavailable)) throw error;
        unavailable = error.message;
        console.warn(`skipped: the root of a Debian: ${unavailable}`);
        return;
      }
      root = await place.rw('debian', 'root', ['--suid', '--dev']);
      checkout = join(place.folder, 'checkout');
      await place.ok(['checkout', 'debian', checkout]);
    });

    test('tar c, tar x of it elsewhere, and over itself', { timeout: 8 * MINUTES }, async (context) => {
      ready(context);
      // Neither all times nor all names come through fuse-native (docs/mount.md).
      const beyond = DEFAULT_TRANSPORT === 'fuse-native' ? '--exclude=./odd --mtime=@0' : '';
      const make = `tar -c --sort=name --numeric-owner ${beyond} -C "$1" .`;
      const archive = join(place.folder, 'root.tar');
      const first = await sh(`${make} | sha256sum`, [root], { seconds: 300 });
      expect(await sh(`${make} > "$2"; sha256sum < "$2"`, [checkout, archive], { seconds: 300 })).toBe(first);
      const copies = [join(root, 'opt/copy'), place.newFolder('copy')];
      for (const copy of copies) {
        mkdirSync(copy, { recursive: true });
        await sh('tar -x --numeric-owner -p -f "$2" -C "$1"', [copy, archive], { seconds: 300 });
      }
      await expectSame(copies[0], copies[1]);
      for (const copy of copies) await sh('rm -r "$1"', [copy], { seconds: 300 });

      const etc = 'tar -x --numeric-owner -p -f "$2" -C "$1" ./etc ./usr/bin ./var';
      for (const folder of [root, checkout]) await sh(etc, [folder, archive], { seconds: 300 });
      const touched: Excuse = {
        reason: 'the copy was made and deleted in it',
        matches: ({ path, field }) => field === 'mtime' && (path === 'opt' || path === 'usr'),
      };
      await expectSame(root, checkout, [touched]);
    });

    test('dpkg in a chroot: unpack, configure, upgrade, purge', { timeout: 8 * MINUTES }, async (context) => {
      ready(context);
      need(context, 'dpkg-deb', 'chroot');
      const build = `cd "$1"
        for v in 1 2; do mkdir -p p$v/DEBIAN p$v/etc p$v/usr/share/layerfs-test p$v/usr/bin
          printf 'Package: layerfs-test\\nVersion: %s\\nArchitecture: all\\nMaintainer: a <a@b>\\nDescription: test\\n' $v > p$v/DEBIAN/control
          echo /etc/layerfs-test.conf > p$v/DEBIAN/conffiles; echo $v > p$v/etc/layerfs-test.conf
          for i in $(seq 200); do echo "$v $i" > p$v/usr/share/layerfs-test/f$i; done; ln p$v/usr/share/layerfs-test/f1 p$v/usr/share/layerfs-test/hard
          ln -s ../share/layerfs-test/f1 p$v/usr/bin/layerfs-test; printf '#!/bin/sh\\necho %s > /var/lib/layerfs-test\\n' $v > p$v/DEBIAN/postinst
          printf '#!/bin/sh\\nif [ "$1" = purge ]; then rm -f /var/lib/layerfs-test; fi\\n' > p$v/DEBIAN/postrm; chmod 755 p$v/DEBIAN/p*
          find p$v -exec touch -h -d @1700000000 {} +
          dpkg-deb --root-owner-group -b p$v v$v.deb > /dev/null; done`;
      const folder = place.newFolder('deb');
      await sh(build, [folder]);
      const script = `cp "$2"/v*.deb "$1/root/"
        chroot "$1" sh -euc 'export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin; cd /root
          dpkg --unpack v1.deb; dpkg -s layerfs-test | grep Status; dpkg --configure -a; cat /var/lib/layerfs-test
          dpkg -i v2.deb; dpkg -L layerfs-test | wc -l; dpkg --verify layerfs-test; dpkg --audit; cat /usr/bin/layerfs-test; ls -la /usr/share/layerfs-test | wc -l
          dpkg -r layerfs-test; dpkg -l layerfs-test | tail -1; ls /etc/layerfs-test.conf; dpkg --purge layerfs-test; ls -d /usr/share/layerfs-test /etc/layerfs-test.conf || true
          rm v1.deb v2.deb' 2>&1`;
      const said: string[] = [];
      for (const target of [root, checkout]) said.push(await sh(script, [target, folder], { seconds: 200 }));
      expect(said[0]).toBe(said[1]);
      expect(said[0]).toMatch(/install ok unpacked[^]*Purging configuration files for layerfs-test/);
      const log: Excuse = { reason: 'dpkg.log tells the time', matches: ({ path }) => path === 'var/log/dpkg.log' };
      await expectSame(root, checkout, [WHEN_WRITTEN, log]);
    });

    test('mounted again it is the same', { timeout: 5 * MINUTES }, async (context) => {
      ready(context);
      await expectSameAfterRemount(place, root, ['debian', 'root', '--suid', '--dev']);
      await place.unmount(root);
    });
  });

  test('no object of the store has changed', { timeout: 5 * MINUTES }, async () => {
    expect(await place.damagedObjects()).toBe('');
    // That it would be found.
    const wrong = createHash('sha256').update('something else').digest('hex');
    const folder = join(place.root, 'objects', wrong.slice(0, 2));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, wrong.slice(2)), 'x');
    expect(await place.damagedObjects()).toContain(wrong);
    rmSync(join(folder, wrong.slice(2)));
  });
});
