/** Mountpoints and references that cannot be used: a clear error, an exit code, and no mount or process left. */
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { layerfs } from '../support/cli.js';
import { Workplace } from '../support/mounted.js';
import { need } from '../support/needs.js';
import { mountsBelow } from '../support/store-listing.js';
import { TRANSPORTS, transportOptions } from '../support/transports.js';
import { testImage } from '../images/index.js';

describe.each(TRANSPORTS)('mounts by %s', (transport) => {
  const by = transportOptions(transport);
  const place = new Workplace({ transport });
  beforeAll(async () => {
    await place.ok(['import', (await testImage('mini')).path, '--name', 'mini']);
  });
  afterAll(() => place.remove());

  async function expectRefused(args: string[], says: RegExp): Promise<void> {
    const before = mountsBelow(place.folder);
    const { code, stdout, stderr } = await layerfs(args, { env: place.env });
    expect(stderr).toMatch(says);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(code).toBeGreaterThan(0);
    expect(stdout).toBe('');
    expect(mountsBelow(place.folder)).toEqual(before);
    expect(JSON.parse(await place.ok(['mounts', '--json']))).toHaveLength(before.length);
  }

  test('a mountpoint that does not exist', () =>
    expectRefused(
      ['mount', ...by, 'mini', join(place.folder, 'nowhere')],
      /nowhere.*(not exist|no such|not found)|(not exist|no such).*nowhere/i,
    ));

  test('a mountpoint that is a file', () => {
    const path = join(place.folder, 'a-file');
    writeFileSync(path, '');
    return expectRefused(['mount', ...by, 'mini', path], /a-file.*not a (folder|directory)/i);
  });

  test('an image that is not there', () =>
    expectRefused(['mount', ...by, 'nothing:here', place.newFolder()], /nothing:here/));

  test('a reference that is none', () =>
    expectRefused(['mount', ...by, 'UPPER CASE', place.newFolder()], /UPPER CASE/));

  test('a mountpoint in use already', async (context) => {
    need(context, 'fuse');
    const mountpoint = await place.mount('mini');
    await expectRefused(['mount', ...by, 'mini', mountpoint], /already/i);
    await place.unmount(mountpoint);
  });

  test('a mountpoint that the user may not use', async (context) => {
    need(context, 'root');
    const nobody = 65534;
    const own = new Workplace({ transport });
    try {
      for (const folder of [own.folder, own.newFolder('others'), own.newFolder('private')]) chmodSync(folder, 0o755);
      const [others, secret] = [join(own.folder, 'others-0'), join(own.folder, 'private-1')];
      mkdirSync(join(secret, 'inner'));
      chmodSync(secret, 0o700);
      mkdirSync(own.root);
      chownSync(own.root, nobody, nobody);
      await own.ok(['import', (await testImage('mini')).path, '--name', 'mini'], { uid: nobody });
      for (const mountpoint of [others, join(secret, 'inner')]) {
        const { code, stderr } = await own.try(['mount', ...by, 'mini', mountpoint], { uid: nobody });
        expect(stderr).toMatch(/permi(ssion|tted)|denied|no right|cannot be reached|not? .*writ/i);
        expect(stderr).not.toMatch(/^ +at /m);
        expect(code).toBeGreaterThan(0);
      }
      expect(mountsBelow(own.folder)).toEqual([]);
    } finally {
      await own.remove();
    }
  });

  test('unmounting what is not mounted', async () => {
    await expectRefused(['unmount', place.newFolder()], /not (a layerfs )?mount|no .*mount|nothing .*mounted/i);
    await expectRefused(['unmount', '/proc'], /not (a layerfs )?mount|no .*mount|nothing .*mounted/i);
  });

  test('a server killed outright: the mount is recognised as dead and can be cleared and mounted again', async (context) => {
    need(context, 'fuse');
    const mountpoint = await place.mount('mini');
    const [entry] = JSON.parse(await place.ok(['mounts', '--json'])) as { pid: number }[];
    process.kill(entry.pid, 'SIGKILL');
    await expect
      .poll(() => readFileSync('/proc/self/mounts', 'utf8') !== '' && place.ok(['mounts']), { timeout: 5000 })
      .toMatch(/dead|gone|stale/i);
    await place.ok(['unmount', mountpoint]);
    expect(mountsBelow(mountpoint)).toEqual([]);
    await place.ok(['mount', ...by, 'mini', mountpoint]);
    expect(readFileSync(join(mountpoint, 'etc/hostname'), 'utf8')).toBe('changed\n');
    await place.unmount(mountpoint);
  });
});
