/** `layerfs doctor` as the command, with what a machine may lack taken away. */
import { chmodSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { run } from '../images/oci.js';
import { CLI } from '../support/cli.js';
import { Workplace } from '../support/mounted.js';
import { missing, need } from '../support/needs.js';

interface Check {
  name: string;
  ok: boolean | 'warn';
  detail: string;
  use?: string;
  hint?: string;
}

const place = new Workplace();
afterAll(() => place.remove());

function byName(json: string): Map<string, Check> {
  return new Map((JSON.parse(json) as Check[]).map((check) => [check.name, check]));
}

/** Between two runs others mount, and take space. */
function withoutNumbers(text: string): string {
  return text.replaceAll(/[\d.]+/g, '#');
}

test('says what there is, what is used and how to get more, as text and as JSON, and its code says whether images can be mounted', async () => {
  // Others run it at the same time.
  const env = { TMPDIR: place.newFolder('tmp') };
  const [text, json] = [await place.try(['doctor'], { env }), await place.try(['doctor', '--json'], { env })];
  const checks = byName(json.stdout);
  const wrong = [...checks.values()].filter(({ ok }) => ok === false);
  expect([text.code, json.code]).toEqual(wrong.length > 0 ? [6, 6] : [0, 0]);
  if (missing('fuse') === undefined) expect(checks.get('Mounting')).toMatchObject({ ok: true });
  for (const { name, detail, use = '', hint = '', ok } of checks.values()) {
    for (const part of [name, detail, use, ok === true ? '' : hint])
      expect(withoutNumbers(text.stdout)).toContain(withoutNumbers(part));
  }
  // Nothing was made for it, and nothing is left.
  expect(existsSync(place.root)).toBe(false);
  expect(readdirSync(env.TMPDIR).filter((name) => name.startsWith('layerfs-'))).toEqual([]);
});

test('a machine without /dev/fuse: 6, and what works all the same', async (context) => {
  need(context, 'root', 'unshare');
  const script = 'mount -t tmpfs none /dev && "$0" "$1" doctor --json; echo $?';
  const { stdout } = await run('unshare', ['-m', '--propagation', 'slave', 'sh', '-c', script, process.execPath, CLI], {
    env: { ...process.env, ...place.env },
  });
  const checks = byName(stdout.slice(0, stdout.lastIndexOf(']') + 1));
  expect(stdout.trim().endsWith('\n6')).toBe(true);
  expect(checks.get('/dev/fuse')).toMatchObject({
    ok: false,
    hint: expect.stringContaining('layerfs checkout') as unknown,
  });
  expect(checks.has('Mounting')).toBe(false);
});

test('an ordinary user who may open /dev/fuse mounts through fusermount3', async (context) => {
  need(context, 'root', 'fuse', 'fusermount3', 'unshare', 'setpriv');
  const home = place.newFolder('home');
  chmodSync(place.folder, 0o755);
  mkdirSync(join(home, 'dev'));
  chmodSync(home, 0o777);
  // A device and a user of our own in place of the machine's, in a mount namespace of our own.
  const script = `
    mount -t tmpfs none "$HOME/dev" && mknod -m 666 "$HOME/dev/fuse" c 10 229 && mount --bind "$HOME/dev/fuse" /dev/fuse
    { cat /etc/passwd; echo someone:x:61997:61997::/:/bin/sh; } > "$HOME/dev/passwd" && mount --bind "$HOME/dev/passwd" /etc/passwd
    setpriv --reuid 61997 --regid 61997 --clear-groups "$0" "$1" doctor --json; echo $?
    grep -c layerfs-doctor /proc/mounts`;
  const { stdout } = await run(
    'unshare',
    ['-m', '--propagation', 'slave', 'sh', '-c', `${script}; true`, process.execPath, CLI],
    {
      env: { ...process.env, HOME: home, XDG_DATA_HOME: '', LAYERFS_ROOT: '', TMPDIR: home },
    },
  );
  const checks = byName(stdout.slice(0, stdout.lastIndexOf(']') + 1));
  expect(stdout.slice(stdout.lastIndexOf(']') + 1).trim()).toBe('0\n0');
  expect(checks.get('Mounting')).toMatchObject({ ok: true, use: expect.stringContaining('fusermount3') as unknown });
  expect(checks.get('FUSE passthrough')).toMatchObject({ ok: 'warn' });
  expect(checks.get('Subordinate ids')?.detail).toContain('for someone');
});

test('root of a user namespace that may not mount: fusermount3 was tried, too', async (context) => {
  need(context, 'fuse', 'fusermount3', 'unshare');
  const refused = await run('unshare', ['-Ur', 'true']).then(
    () => undefined,
    (error: unknown) => String(error),
  );
  if (refused !== undefined) {
    console.warn(`skipped: ${context.task.name}: no user namespace: ${refused}`);
    context.skip('no user namespace');
  }
  const { stdout } = await run('unshare', ['-Ur', 'sh', '-c', '"$0" "$1" doctor --json; true', process.execPath, CLI], {
    env: { ...process.env, ...place.env, TMPDIR: place.newFolder('tmp') },
  });
  const checks = byName(stdout);
  expect(checks.get('Mounting')).toMatchObject({
    ok: false,
    detail: expect.stringMatching(/unshare -Urm.*; fusermount3: \S+/) as unknown,
  });
  expect(checks.get('fuse-native')?.detail).toMatch(/can be loaded|Not usable: /);
});
