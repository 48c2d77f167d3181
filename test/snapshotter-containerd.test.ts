/** Real containers on our snapshotter, run by a containerd of the test's own. */
import { chmodSync, createReadStream, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi, type TestContext } from 'vitest';
import { compareFolders, report, type Excuse } from './compare/compare.js';
import { run } from './images/oci.js';
import { ContainerdOnLayerfs } from './support/containerd-on-layerfs.js';
import { missing, need, needImage } from './support/needs.js';
import type { Service } from './support/service.js';

const SNAPSHOTTER = ['--snapshotter', 'layerfs'];
const MINUTES = 60_000;
const IMAGE = 'test.local/debian:latest';
const CHANGED = 'test.local/changed:latest';
const STARTED = Date.now() * 1e6;
const JUST_MADE: Excuse = {
  reason: 'folders without an entry of their own, or changed by a later layer, have the time of the unpacking',
  matches: ({ field, left, right }) => field === 'mtime' && Number(left) > STARTED && Number(right) > STARTED,
};

const reason = missing('root', 'containerd', 'ctr', 'runc', 'tar');
if (reason !== undefined) console.warn(`skipped: containerd: ${reason}`);

describe.skipIf(reason !== undefined)('containerd', () => {
  let folder: string;
  let service: Service;
  let both: ContainerdOnLayerfs;
  /** Layers of the image, as tars. */
  let base: string[] = [];
  let archive = '';

  beforeAll(async () => {
    both = await ContainerdOnLayerfs.start('layerfs-snapshotter-');
    ({ folder, service } = both);
  });
  afterAll(() => both.stop());

  const ctr = (...args: string[]): Promise<string> => both.ctr(...args);
  const container = (name: string, script: string, ...options: string[]): Promise<string> =>
    ctr('run', '--rm', ...SNAPSHOTTER, ...options, IMAGE, name, '/bin/sh', '-ec', script);
  /** containerd collects garbage a little later; and it waits a moment before it calls a service again that was away. */
  const eventually = <T>(action: () => T | Promise<T>): Promise<T> =>
    vi.waitFor(action, { timeout: 60_000, interval: 500 });

  async function onlyLayersAreLeft(): Promise<void> {
    await eventually(async () => {
      // What goes while garbage is collected stays until the next collection, which this is.
      const lease = (await ctr('leases', 'create')).trim();
      await ctr('leases', 'delete', '--sync', lease);
      const rows = (await ctr('snapshot', ...SNAPSHOTTER, 'ls')).trim().split('\n').slice(1);
      expect(rows.filter((row) => !row.includes('Committed'))).toEqual([]);
      // Some of them are layers of the store by now.
      expect(both.folders().length).toBeLessThanOrEqual(rows.length);
    });
  }

  /** Leases go a little after the snapshots that they are for. */
  async function nothingIsStored(): Promise<void> {
    await eventually(async () => {
      await both.layerfs('gc');
      expect(readdirSync(join(folder, 'store/layers'))).toEqual([]);
    });
  }

  async function needDebian(context: TestContext): Promise<void> {
    const { layers } = await needImage(context, 'debian');
    if ((await ctr('image', 'ls', '-q')).includes(IMAGE)) return;
    // containerd 1.6 fails on the last layer, in which a folder is deleted and made anew.
    base = layers.slice(0, -1).map(({ tar }) => tar!);
    archive = await both.importImage(
      IMAGE,
      base.map((tar) => createReadStream(tar)),
    );
  }

  test('a container runs, writes, and leaves nothing', { timeout: 5 * MINUTES }, async (context) => {
    await needDebian(context);
    const said = await container(
      'writes',
      'echo hello > /new; cat /new; rm /etc/hostname || true; cat /etc/debian_version',
    );
    expect(said).toMatch(/^hello\n12\./);
    await onlyLayersAreLeft();
    expect(await container('again', 'ls /new || echo nothing')).toBe('nothing\n');
  });

  test(
    'what containerd unpacked is what its own overlayfs snapshotter unpacks',
    { timeout: 5 * MINUTES },
    async (context) => {
      need(context, 'getfattr');
      await needDebian(context);
      const roots: string[] = [];
      const chain = (await ctr('snapshot', ...SNAPSHOTTER, 'ls'))
        .split('\n')
        .slice(1)
        .filter((line) => line.includes('Committed'))
        .map((line) => line.split(/\s+/))
        .map(([key, parent]) => ({ key, parent }));
      const top = chain.find(({ key }) => !chain.some(({ parent }) => parent === key))!.key;
      await ctr('image', 'import', '--snapshotter', 'overlayfs', archive);
      for (const snapshotter of ['layerfs', 'overlayfs']) {
        const root = join(folder, `root-${snapshotter}`);
        mkdirSync(root);
        await ctr('snapshot', '--snapshotter', snapshotter, 'prepare', `root-of-${snapshotter}`, top);
        const mounting = await ctr('snapshot', '--snapshotter', snapshotter, 'mounts', root, `root-of-${snapshotter}`);
        await run('sh', ['-c', mounting]);
        roots.push(root);
      }
      try {
        const { unexplained } = await compareFolders(roots[0], roots[1], [JUST_MADE]);
        expect(report(unexplained, ['layerfs', 'overlayfs'])).toBe('');
      } finally {
        for (const [i, snapshotter] of ['layerfs', 'overlayfs'].entries()) {
          await run('umount', [roots[i]]);
          await ctr('snapshot', '--snapshotter', snapshotter, 'rm', `root-of-${snapshotter}`);
        }
      }
    },
  );

  test(
    'a task goes on while the service is killed, and a new one serves what was there',
    { timeout: 5 * MINUTES },
    async (context) => {
      await needDebian(context);
      await ctr('run', '-d', ...SNAPSHOTTER, IMAGE, 'sleeper', '/bin/sh', '-c', 'echo kept > /kept; sleep 600');
      try {
        await service.stop('SIGKILL');
        expect(await ctr('task', 'exec', '--exec-id', 'one', 'sleeper', '/bin/cat', '/etc/debian_version')).toMatch(
          /^12\./,
        );
        await service.start();
        expect(await ctr('task', 'exec', '--exec-id', 'two', 'sleeper', '/bin/cat', '/kept')).toBe('kept\n');
        await eventually(async () => expect(await container('after', 'echo works')).toBe('works\n'));
      } finally {
        await ctr('task', 'kill', '-s', 'SIGKILL', 'sleeper');
        await ctr('task', 'rm', '-f', 'sleeper').catch(() => undefined);
        await ctr('container', 'rm', 'sleeper');
      }
    },
  );

  test('a container is committed to snapshots, and its changes are seen', { timeout: 5 * MINUTES }, async (context) => {
    await needDebian(context);
    await ctr('run', ...SNAPSHOTTER, IMAGE, 'changed', '/bin/sh', '-ec', 'echo x > /added; rm -r /usr/share/doc');
    try {
      await ctr('snapshot', ...SNAPSHOTTER, 'commit', 'committed-by-hand', 'changed');
      expect(await ctr('snapshot', ...SNAPSHOTTER, 'info', 'committed-by-hand')).toContain('"Kind": "Committed"');
      expect(await ctr('snapshot', ...SNAPSHOTTER, 'usage', 'committed-by-hand')).toContain('committed-by-hand');
      const { stdout: diff } = await run('sh', [
        '-c',
        `ctr -a ${both.socket} snapshot --snapshotter layerfs diff committed-by-hand | zcat -f | tar t`,
      ]);
      expect(diff.split('\n')).toEqual(expect.arrayContaining(['added', 'usr/share/.wh.doc']));
      await isAnImage('committed-by-hand');
    } finally {
      await ctr('container', 'rm', '--keep-snapshot', 'changed');
      await ctr('snapshot', ...SNAPSHOTTER, 'rm', 'committed-by-hand');
    }
  });

  test('a container in a user namespace has files of its own ids', { timeout: 5 * MINUTES }, async (context) => {
    await needDebian(context);
    // The root of the container is nobody outside, and has to get to its files.
    chmodSync(folder, 0o711);
    const maps = ['--uidmap', '0:100000:65536', '--gidmap', '0:200000:65536', '--remap-labels'];
    const said = await container(
      'other-ids',
      'cat /proc/self/uid_map; stat -c "%u %g" / /etc/passwd; touch /etc/new; chown 33:42 /etc/new; rm /etc/passwd; stat -c "%u %g" /etc/new',
      ...maps,
    );
    expect(said.split('\n').map((line) => line.trim().replaceAll(/ +/g, ' '))).toEqual([
      '0 100000 65536',
      '0 0',
      '0 0',
      '33 42',
      '',
    ]);
    await onlyLayersAreLeft();
  });

  /** Makes an image with one more layer: what a committed snapshot changed. */
  async function isAnImage(snapshot: string): Promise<void> {
    const changes = join(folder, 'changes.tar');
    const socket = both.socket;
    const script = 'ctr -a "$1" snapshot --snapshotter layerfs diff "$2" | zcat -f > "$3"';
    await run('sh', ['-c', script, 'sh', socket, snapshot, changes]);
    await both.importImage(
      CHANGED,
      [...base, changes].map((tar) => createReadStream(tar)),
    );
    const look = 'cat /added; ls -d /usr/share/doc 2> /dev/null || echo gone';
    expect(await ctr('run', '--rm', ...SNAPSHOTTER, CHANGED, 'of-changed', '/bin/sh', '-c', look)).toBe('x\ngone\n');
    await ctr('image', 'rm', '--sync', CHANGED);
  }

  test('fifty containers started at once, on the same image', { timeout: 10 * MINUTES }, async (context) => {
    await needDebian(context);
    const names = Array.from({ length: Number(process.env['LAYERFS_CONTAINERS'] ?? 50) }, (_, i) => `many-${i}`);
    const all = (action: (name: string) => Promise<string>): Promise<string[]> => Promise.all(names.map(action));
    try {
      await all((name) =>
        ctr('run', '-d', ...SNAPSHOTTER, IMAGE, name, '/bin/sh', '-c', `echo ${name} > /name; exec sleep 600`),
      );
      const listed = await ctr('task', 'ls');
      expect(listed.match(/ RUNNING/g)).toHaveLength(names.length);
      // Each sees what it wrote itself.
      const exec = (name: string): Promise<string> =>
        eventually(async () => {
          const said = await ctr('task', 'exec', '--exec-id', `look-${Date.now()}`, name, '/bin/cat', '/name');
          expect(said).toBe(`${name}\n`);
          return said;
        });
      expect(await all(exec)).toEqual(names.map((name) => `${name}\n`));
      // One mount shows the layers to all of them; those of other layers, from while they were unpacked, may not be taken away yet.
      const roots = readFileSync('/proc/self/mountinfo', 'latin1')
        .split('\n')
        .filter((line) => line.includes(' overlay ') && line.includes(`${folder}/store/snapshotter/erofs/`));
      const shown = roots.map((line) => /\/snapshotter\/erofs\/([0-9a-f]+)/.exec(line)?.[1]);
      expect(shown).toHaveLength(names.length);
      expect(new Set(shown).size).toBe(1);
    } finally {
      await all((name) => ctr('task', 'rm', '-f', name).catch(String));
      await all((name) => ctr('container', 'rm', name).catch(String));
    }
    await onlyLayersAreLeft();
  });

  test('images that are removed leave nothing', { timeout: 5 * MINUTES }, async (context) => {
    await needDebian(context);
    for (const name of (await ctr('image', 'ls', '-q')).trim().split('\n')) await ctr('image', 'rm', '--sync', name);
    await ctr('content', 'prune', 'references').catch(() => undefined);
    await eventually(async () => {
      expect((await ctr('snapshot', ...SNAPSHOTTER, 'ls')).trim().split('\n').slice(1)).toEqual([]);
      expect(both.folders()).toEqual([]);
      expect(readdirSync(join(folder, 'store/snapshotter/erofs'))).toEqual([]);
    });
    // Nor in the store: what was sealed is garbage.
    await nothingIsStored();
    expect(existsSync(join(folder, 'store/snapshotter/staging'))).toBe(true);
    expect(service.log).not.toContain('in the background');
  });

  test('an image of the store is run without being unpacked', { timeout: 5 * MINUTES }, async (context) => {
    await needDebian(context);
    for (const name of (await ctr('image', 'ls', '-q')).trim().split('\n')) await ctr('image', 'rm', '--sync', name);
    const listed = (): Promise<string> => ctr('snapshot', ...SNAPSHOTTER, 'ls');
    await eventually(async () => expect((await listed()).trim().split('\n')).toHaveLength(1));
    await both.layerfs('import', archive, '--name', 'debian');
    const offer = (): Promise<string> => both.layerfs('offer', 'debian', '--address', both.socket);
    await offer();
    await offer();
    const before = service.log.length;
    await ctr('image', 'import', ...SNAPSHOTTER, archive);
    expect(await container('offered', 'cat /etc/debian_version; echo x > /new; rm -r /usr/share/doc')).toMatch(/^12\./);
    expect(service.log.slice(before)).not.toContain('"method":"Commit"');
    // containerd removes a container's snapshot a little later.
    await eventually(() => expect(both.folders()).toEqual([]));
    // The image alone keeps them.
    for (const line of (await ctr('leases', 'ls', '-q')).trim().split('\n')) await ctr('leases', 'rm', '--sync', line);
    // By how it ends: on a busy machine ctr now and then prints nothing of a short container.
    await container('again', "grep -q '^12[.]' /etc/debian_version");
    for (const name of (await ctr('image', 'ls', '-q')).trim().split('\n')) await ctr('image', 'rm', '--sync', name);
    await eventually(async () => {
      expect((await listed()).trim().split('\n').slice(1)).toEqual([]);
      expect(readdirSync(join(folder, 'store/snapshotter/erofs'))).toEqual([]);
    });
    // What containerd has is not what the store has.
    await both.layerfs('rmi', 'debian');
    await nothingIsStored();
    await expect(offer()).rejects.toThrow('debian');
  });
});
