/**
 * layerfs as an ordinary user, alone and in user namespaces: mounts, writable ones too, owners by subordinate ids, and what is said
 * where there is no right to mount. docs/rootless.md says it for users.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tarOf } from './images/tar.js';
import { need } from './support/needs.js';
import { OrdinaryUser, SUBIDS, whyNoUser } from './support/ordinary-user.js';

const reason = whyNoUser();
if (reason !== undefined) console.warn(`skipped: an ordinary user: ${reason}`);

/** An image of files of many owners, as Debian's have. */
function manyOwners(): Uint8Array {
  const owners = [0, 1, 33, 100, 998, 1000, 65_533];
  return tarOf(
    { name: './', mode: 0o755 },
    { name: 'etc/', mode: 0o755 },
    { name: 'etc/shadow', data: 'secret', mode: 0o640, uid: 0, gid: 42 },
    { name: 'etc/hostname', data: 'image\n', mode: 0o644 },
    { name: 'of/', mode: 0o755 },
    ...owners.map((id) => ({ name: `of/${String(id)}`, data: `of ${String(id)}\n`, mode: 0o644, uid: id, gid: id })),
    { name: 'of/suid', data: 'x', mode: 0o4755, uid: 33, gid: 33 },
    { name: 'of/marked', data: 'x', mode: 0o644, xattrs: { 'user.mark': 'yes' } },
    { name: 'gone/', mode: 0o755 },
    { name: 'gone/a', data: 'a', mode: 0o644 },
    { name: 'gone/b', data: 'b', mode: 0o644 },
  );
}

const OWNERS = 'stat -c "%n %u %g" of/* | sort -k 2n';
const SHOWN =
  'of/0 0 0\nof/marked 0 0\nof/1 1 1\nof/33 33 33\nof/suid 33 33\nof/100 100 100\nof/998 998 998\nof/1000 1000 1000\nof/65533 65533 65533\n';

describe.skipIf(reason !== undefined)('an ordinary user', { timeout: 300_000 }, () => {
  let user: OrdinaryUser;
  beforeAll(async () => {
    user = await OrdinaryUser.make();
    writeFileSync(join(user.folder, 'image.tar'), manyOwners());
    mkdirSync(join(user.folder, 'no-programs'));
    await user.run('none', `layerfs import ../image.tar --name image && mkdir mnt`);
  });
  afterAll(async () => {
    await user.end();
  });

  describe('without a namespace', () => {
    test("has a store in the user's data folder, wherever $XDG_DATA_HOME says that is", async () => {
      expect(await user.run('none', 'ls -d .local/share/layerfs/objects')).toContain('objects');
      const env = { XDG_DATA_HOME: join(user.home, 'data') };
      expect(await user.run('none', 'layerfs images; ls -d data/layerfs/objects', { env })).toContain(
        'data/layerfs/objects',
      );
    });

    test('mounts by fusermount3, without passthrough, and unmounts', async () => {
      const said = await user.run(
        'none',
        `layerfs mount image mnt
         (cd mnt; ${OWNERS}; cat of/33 of/33 etc/shadow; echo)
         grep " $HOME/mnt " /proc/self/mounts
         layerfs mounts --json
         layerfs unmount mnt
         ! grep " $HOME/mnt " /proc/self/mounts`,
      );
      expect(said).toContain(SHOWN);
      // The user who mounts may read all of an image that is theirs.
      expect(said).toContain('of 33\nof 33\nsecret\n');
      expect(said).toMatch(/ fuse\.layerfs ro,nosuid,nodev.*user_id=(?!0)/);
      expect(said).not.toContain('allow_other');
      expect(said).toContain('"transport": "fusermount3"');
      expect(said).toContain('"passthrough": false');
    });

    test('what was read once is kept by the kernel: the second time nothing is asked of the server', async () => {
      const said = await user.run(
        'none',
        `layerfs mount image mnt --trace trace
         cat mnt/of/100 >/dev/null; sleep 1; before=$(wc -l < trace)
         for i in 1 2 3; do cat mnt/of/100; done; sleep 1; after=$(wc -l < trace)
         layerfs unmount mnt
         echo "$((after - before)) requests, $before before, $(grep -c READ trace) reads"`,
      );
      expect(said).toMatch(/^of 100\nof 100\nof 100\n/m);
      const [more, before, reads] = [...said.matchAll(/(\d+) (?:requests|before|reads)/g)].map((match) =>
        Number(match[1]),
      );
      expect(before).toBeGreaterThan(2);
      expect([more, reads]).toEqual([0, 1]);
    });

    test('lets others in only where /etc/fuse.conf permits it', async (context) => {
      if (!user.isMade) context.skip('changes /etc/fuse.conf');
      const conf = join(user.folder, 'etc/fuse.conf');
      const mounted = await user.run(
        'none',
        'layerfs mount image mnt --allow-other; grep " $HOME/mnt " /proc/self/mounts; layerfs unmount mnt',
      );
      expect(mounted).toContain('allow_other');
      writeFileSync(conf, '# nothing\n');
      try {
        const refused = await user.try('none', 'layerfs mount image mnt --allow-other');
        expect(refused.code).not.toBe(0);
        expect(refused.stderr).toMatch(/user_allow_other.*without allow-other/s);
        expect(await user.run('none', 'layerfs mount image mnt && cat mnt/of/1 && layerfs unmount mnt')).toContain(
          'of 1\n',
        );
      } finally {
        writeFileSync(conf, 'user_allow_other\n');
      }
    });

    test('says what is missing, and that checkout needs none of it', async () => {
      const noHelper = await user.try('none', `PATH=$HOME/../no-programs\nlayerfs mount image mnt`);
      expect(noHelper.code).not.toBe(0);
      expect(noHelper.stderr).toMatch(/fusermount3 \(Debian package fuse3\).*layerfs checkout needs no mount/s);
      const said = await user.run(
        'none',
        `PATH=$HOME/../no-programs:$PATH\nlayerfs checkout image out -q 2>/dev/null; cat out/of/33`,
      );
      expect(said).toBe('of 33\n');
      if (!user.isMade) return;
      const device = join(user.folder, 'fuse');
      chmodSync(device, 0o600);
      try {
        for (const namespace of ['none', 'ranges'] as const) {
          const { code, stderr } = await user.try(namespace, 'layerfs mount image mnt');
          expect(code).not.toBe(0);
          expect(stderr).toMatch(/no right to open \/dev\/fuse.*layerfs checkout needs no mount/is);
        }
      } finally {
        chmodSync(device, 0o666);
      }
    });
  });

  describe('in a user namespace', () => {
    test('of one id: the same store, mounts of its own, and owners that have no number here', async () => {
      const said = await user.run(
        'single',
        `layerfs mount image mnt; (cd mnt; stat -c "%n %u" of/0 of/33; cat of/33); layerfs mounts --json; layerfs unmount mnt`,
      );
      expect(said).toContain('of/0 0\nof/33 65534\nof 33\n');
      expect(said).toContain('"transport": "kernel"');
      expect(said).toContain('"passthrough": false');
    });

    test('without a mount namespace: says so, and checks out', async () => {
      const { code, stderr } = await user.try('no mounts', 'layerfs mount image mnt');
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/needs a mount namespace, too \(unshare -Urm.*layerfs checkout needs no mount/s);
      const said = await user.try(
        'no mounts',
        'layerfs checkout image no-mounts; cat no-mounts/of/33; stat -c %u no-mounts/of/*',
      );
      expect(said.stdout).toContain('of 33\n');
      expect(said.stderr).toMatch(/the owner could not be kept \(\d+ entries, the first is/);
    });

    test('with all subordinate ids: import, mount and checkout keep all owners', async () => {
      const said = await user.run(
        'ranges',
        `LAYERFS_ROOT=$HOME/own; export LAYERFS_ROOT
         layerfs import ../image.tar --name image
         layerfs mount image mnt; (cd mnt; ${OWNERS}); layerfs unmount mnt
         layerfs checkout image checked-out
         cd checked-out; ${OWNERS}; stat -c %a of/suid; getfattr -n user.mark --only-values of/marked; echo; cd ..
         layerfs fsck`,
      );
      expect(said.split(SHOWN).length).toBe(3);
      expect(said).toContain('4755\nyes\n');
      if (user.isMade) {
        // As the machine sees them.
        const outside = await user.run('none', 'stat -c "%u" checked-out/of/0 checked-out/of/33');
        expect(outside).toBe(`${String(user.uid)}\n${String(SUBIDS.first + 32)}\n`);
      }
    });

    test('a writable mount: attributes of the user class, owners by subordinate ids, diff and commit', async () => {
      const said = await user.run(
        'ranges',
        `layerfs mount image mnt --rw --name work
         cd mnt
         echo changed > etc/hostname; chown 33:42 etc/hostname; chmod 600 of/1000
         chmod 6755 of/0; exec 3<>of/0; exec 3>&-; echo "bits $(stat -c %a of/0)"
         rm gone/a; mv gone/b of/b; rm -r of/998; rm -r gone; mkdir gone; echo new > gone/new
         setfattr -n user.mark -v no of/marked
         stat -c "%n %u %g %a" etc/hostname of/1000 of/b; ls of gone
         if mknod device c 1 3; then echo made a device; fi
         cd ..
         layerfs diff work
         layerfs unmount mnt
         upper=$(layerfs snapshots --json | sed -n 's/.*"upper": "\\(.*\\)",/\\1/p')
         echo "upper: $(cd "$upper"; stat -c '%n %u %g' etc/hostname; find . -type c)"
         getfattr -R -h -d -m - "$upper" 2>/dev/null | sed -n 's/^\\([a-z]*\\.overlay\\.[a-z]*\\).*/class: \\1/p' | sort -u
         layerfs commit work image:next -q
         layerfs mount image:next mnt; (cd mnt; cat etc/hostname gone/new; stat -c %u,%g etc/hostname; ls of gone; getfattr -n user.mark --only-values of/marked); layerfs unmount mnt
         layerfs mount image mnt --rw --name work; ls mnt/gone; layerfs unmount mnt`,
      );
      expect(said).toContain('etc/hostname 33 42 644\nof/1000 1000 1000 600\nof/b 0 0 644\n');
      // Opening for writing copies the content, which is no write.
      expect(said).toContain('bits 6755\n');
      expect(said).toContain('D /of/998\n');
      expect(said).toMatch(/^C \/etc\/hostname$/m);
      expect(said).toContain('upper: etc/hostname 33 42\n');
      expect(said).toMatch(/class: user\.overlay\.opaque/);
      expect(said).not.toMatch(/trusted\.|made a device/);
      expect(said).toContain('changed\nnew\n33,42\n');
      // In the mount, of the commit, and mounted again.
      expect(said.match(/^new$/gm)?.length).toBe(4);
    });

    test('where devices cannot be made whiteouts are files with attributes, which the kernel and fuse-layerfs understand in lowers', async (context) => {
      need(context, 'strace', 'getfattr');
      const said = await user.run(
        'ranges',
        `refused="-e inject=mknod:error=EPERM -e inject=mknodat:error=EPERM"
         strace -f -qq -o trace -e trace=mknod,mknodat $refused '${process.execPath}' '${process.cwd()}/packages/cli/bin/layerfs.js' mount image mnt --rw --name refused >/dev/null &
         until grep -q " $HOME/mnt " /proc/self/mounts; do sleep 0.1; done
         until test -e mnt/etc; do sleep 0.1; done
         rm mnt/of/33 mnt/gone/a; mv mnt/of/100 mnt/of/hundred; rm -r mnt/etc; touch mnt/gone/empty
         ls mnt mnt/of mnt/gone > in-mount
         layerfs unmount mnt; wait
         upper=$(layerfs snapshots --json | sed -n '/"name": "refused"/,/"upper"/s/.*"upper": "\\(.*\\)",/\\1/p')
         echo "devices: $(find "$upper" -type c | wc -l)"
         echo "refusals: $(grep -c EPERM trace)"
         layerfs diff refused
         layerfs checkout image folder -q 2>/dev/null
         # Nothing of other marks in it: a moved file has one that the kernel follows for root alone.
         rm "$upper/of/hundred"
         mount -t overlay o -o userxattr,lowerdir="$upper:folder" mnt && { ls mnt mnt/of mnt/gone > by-kernel; umount mnt; }
         fuse_layerfs -o lowerdir="$upper:folder" mnt; ls mnt mnt/of mnt/gone > by-fuse-layerfs; umount mnt
         grep -v hundred in-mount | diff - by-kernel && grep -v hundred in-mount | diff - by-fuse-layerfs && echo the same
         layerfs mount image mnt --rw --name refused
         ls mnt mnt/of mnt/gone | diff - by-kernel && echo the same again
         layerfs unmount mnt; echo "devices then: $(find "$upper" -type c | wc -l)"`,
      );
      expect(said).toContain('devices: 0\n');
      expect(said).toMatch(/refusals: [1-9]/);
      expect(said).toContain('D /etc\n');
      expect(said).toContain('D /of/33\n');
      expect(said).toContain('the same\n');
      expect(said).toContain('the same again\n');
      // Spelled anew where devices can be made.
      expect(said).toContain('devices then: 4\n');
    });
  });

  describe('in a container without /dev/fuse', () => {
    const DEV = `mount -t tmpfs tmpfs "$HOME/dev"
      for node in null zero urandom; do touch "$HOME/dev/$node"; mount --bind "/dev/$node" "$HOME/dev/$node"; done
      mount --rbind "$HOME/dev" /dev`;

    test('mount says what is missing, and checkout writes the same files', async () => {
      const { code, stdout, stderr } = await user.try(
        'ranges',
        `mkdir -p dev; ${DEV}
         layerfs checkout image contained; (cd contained; ${OWNERS}; cat of/33)
         layerfs doctor || true
         layerfs mount image mnt`,
      );
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/there is no \/dev\/fuse.*container.*layerfs checkout needs no mount/is);
      expect(stdout).toContain(`${SHOWN}of 33\n`);
      expect(stdout).toMatch(/no +\/dev\/fuse/);
      expect(stdout).toMatch(/Kernel mounts[^]*?Nothing can be mounted: `layerfs checkout` writes plain files/);
      expect(stdout).not.toContain('through FUSE');
    });

    test('fuse-layerfs says it, too', async () => {
      const { code, stderr } = await user.try(
        'ranges',
        `mkdir -p dev l u w; ${DEV}
         fuse_layerfs -o lowerdir=l,upperdir=u,workdir=w mnt`,
      );
      expect(code).toBe(1);
      expect(stderr).toMatch(/^fuse-layerfs: there is no \/dev\/fuse/);
    });
  });
});
