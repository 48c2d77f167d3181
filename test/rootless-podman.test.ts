/**
 * `fuse-layerfs` as the mount program of podman and buildah without root: an image is built by a Dockerfile, containers run, write, are
 * compared and committed. FUSE_LAYERFS_PROGRAM names another program to be tested so, such as /usr/bin/fuse-overlayfs.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { miniRoot } from './images/mini.js';
import { tarOf } from './images/tar.js';
import { missing } from './support/needs.js';
import { OrdinaryUser, whyNoUser } from './support/ordinary-user.js';

const OURS = join(import.meta.dirname, '../packages/cli/bin/fuse-layerfs.js');
const PROGRAM = process.env['FUSE_LAYERFS_PROGRAM'] ?? OURS;
const reason = whyNoUser() ?? missing('podman', 'buildah', 'runc');
if (reason !== undefined) console.warn(`skipped: podman and buildah without root: ${reason}`);

const DOCKERFILE = `
FROM localhost/base
COPY files /opt/files
RUN mkdir -p /srv/data && echo one > /srv/data/one && ln /srv/data/one /srv/data/two && chown 33:33 /srv/data/one
RUN mv /opt/files/b /srv/b && rm -rf /opt/files/old && echo file > /opt/files/old && chmod 4711 /bin/true
RUN rm -rf /opt/files/again && mkdir /opt/files/again && echo new > /opt/files/again/new && echo more >> /srv/data/two && ln -s one /srv/data/link
USER 33
CMD ["cat", "/srv/data/one"]
`;

describe.skipIf(reason !== undefined)('podman and buildah without root', { timeout: 300_000 }, () => {
  let user: OrdinaryUser;
  let env: Record<string, string>;
  // What containers need on machines with mixed cgroups and a low limit of descriptors, and nothing from the network.
  const run = 'podman run --runtime runc --network=none --ulimit=nofile=1024:1024 --ulimit=nproc=1024:1024';

  beforeAll(async () => {
    user = await OrdinaryUser.make();
    const { home } = user;
    env = { CONTAINERS_STORAGE_CONF: join(home, 'storage.conf'), XDG_RUNTIME_DIR: join(home, 'run'), TMPDIR: home };
    const conf = [
      '[storage]',
      'driver = "overlay"',
      `graphroot = "${home}/storage"`,
      `runroot = "${home}/run/storage"`,
      '[storage.options.overlay]',
      `mount_program = "${PROGRAM}"`,
    ];
    const given = join(user.folder, 'given');
    for (const folder of ['', 'context/files/old', 'context/files/b', 'context/files/again'])
      mkdirSync(join(given, folder), { recursive: true });
    writeFileSync(join(given, 'storage.conf'), `${conf.join('\n')}\n`);
    writeFileSync(join(given, 'base.tar'), tarOf(...(await miniRoot(['rm', 'mkdir', 'ln', 'mv', 'chown', 'chmod']))));
    writeFileSync(join(given, 'context/Dockerfile'), DOCKERFILE);
    for (const name of ['new', 'old/inside', 'b/c', 'again/lower'])
      writeFileSync(join(given, 'context/files', name), `${name}\n`);
    await user.run('none', 'cp -r ../given/* . && mkdir -m 700 run');
    await podman('podman import base.tar localhost/base:latest', 300_000);
    await podman('buildah bud --isolation=chroot --layers -t localhost/built context', 600_000);
  }, 900_000);
  afterAll(async () => {
    // Ends the process that keeps podman's namespaces.
    if (!user.isMade) await podman('podman rm --all --force; podman system migrate');
    await user.end();
  });

  function podman(script: string, timeout?: number): Promise<string> {
    const functions = 'podman() { command podman --cgroup-manager=cgroupfs "$@"; }\n';
    return user.run('none', functions + script, timeout === undefined ? { env } : { env, timeout });
  }

  test('the mount program is used, in the user namespace of all subordinate ids', async () => {
    const said = await podman(
      `podman info --format '{{.Store.GraphDriverName}} {{index .Store.GraphOptions "overlay.mount_program"}} {{.Host.Security.Rootless}}'
       cat > mounted.sh <<'E'
       path=$(podman image mount localhost/built); grep " $path " /proc/self/mounts; cat "$path/srv/data/one"; podman image unmount localhost/built >/dev/null
E
       podman unshare sh mounted.sh`,
    );
    expect(said).toContain(`overlay map`);
    expect(said).toContain(PROGRAM);
    expect(said).toMatch(/^fuse-\w+ .* fuse\.fuse-\w+ /m);
    expect(said).toContain('one\nmore\n');
  });

  test('a Dockerfile of several steps: each sees what those before it did', async () => {
    expect(await podman(`${run} --rm localhost/built`)).toBe('one\nmore\n');
    const said = await podman(`${run} --rm --user 0 localhost/built sh -ec '
      stat -c "%n %a %u %h" /srv/data/one /srv/data/two /bin/true
      cat /opt/files/new /opt/files/old /srv/b/c /srv/data/link; ls /opt/files
      ls -A /opt/files/again
      test "$(stat -c %i /srv/data/one)" = "$(stat -c %i /srv/data/two)" && echo linked
      id -u'`);
    expect(said).toContain('/srv/data/one 644 33 2\n/srv/data/two 644 33 2\n/bin/true 4711 0 1\n');
    expect(said).toContain('new\nfile\nb/c\none\nmore\nagain\nnew\nold\nnew\n');
    expect(said).toContain('linked\n0\n');
  });

  test('a container writes, podman diff tells what, and commit keeps it', async () => {
    const said = await podman(
      `${run} --name writer --user 0 localhost/built sh -ec '
         echo new > /new; chown 998:998 /new; echo changed >> /etc/passwd; rm -r /srv/b; mv /opt/files /files; rm /srv/data/two; chmod 700 /srv/data'
       echo "diff:"; podman diff writer; echo "end"
       podman commit -q writer localhost/changed >/dev/null
       ${run} --rm --user 0 localhost/changed sh -ec '
         cat /new /srv/data/one; stat -c "%n %u %a" /new /srv/data /srv/data/one; ls /srv /files; test ! -e /opt/files && echo moved'
       podman rm writer >/dev/null`,
    );
    const diff = /diff:\n([^]*)end\n/.exec(said)?.[1].split('\n') ?? [];
    for (const line of ['A /new', 'C /etc/passwd', 'D /srv/b', 'D /opt/files', 'A /files', 'D /srv/data/two']) {
      expect(diff).toContain(line);
    }
    expect(diff.filter((line) => line.includes('/usr'))).toEqual([]);
    expect(said).toContain('new\none\nmore\n/new 998 644\n/srv/data 0 700\n/srv/data/one 33 644\n');
    expect(said).toContain('/files:\nagain\nnew\nold\n');
    expect(said).toContain('moved\n');
  });

  test('a stopped container starts again with what it wrote; nothing stays mounted, no server stays', async () => {
    const said = await podman(
      `${run} --name again --user 0 localhost/built sh -c 'echo x >> /count; wc -l < /count' >/dev/null
       podman start --attach again; podman start --attach again; podman rm again >/dev/null
       # podman takes a container's mounts away a moment after it has ended.
       for i in $(seq 100); do
         mounts=$(podman unshare grep -c " $HOME/.* fuse.fuse-" /proc/self/mounts || true)
         servers=$(ps -U ${String(user.uid)} -o stat=,comm= | grep -c '^[^Z].*layerfs' || true)
         if test "$mounts$servers" = 00; then break; fi
         sleep 0.2
       done
       echo "$mounts mounts, $servers servers"`,
    );
    expect(said).toBe('2\n3\n0 mounts, 0 servers\n');
  });
});
