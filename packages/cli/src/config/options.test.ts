import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildProgram } from '../program/program.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The options that `snapshotter serve` gets. */
async function options(toml: string, ...args: string[]): Promise<Record<string, unknown>> {
  writeFileSync(join(folder, 'c.toml'), toml);
  let seen: unknown;
  const program = buildProgram('1', (_, values) => {
    seen = values.at(-1);
    return Promise.resolve();
  });
  await program.parseAsync(['snapshotter', 'serve', '--config', join(folder, 'c.toml'), ...args], { from: 'user' });
  return seen as Record<string, unknown>;
}

test('options come from the file', async () => {
  const toml = [
    'root = "/var/lib/x"',
    'socket = "/run/x.sock"',
    'socket_mode = "660"',
    "socket_group = 'containerd'",
    'metrics = ":9100"',
    'quiet = true',
  ].join('\n');
  expect(await options(toml)).toMatchObject({
    root: '/var/lib/x',
    socket: '/run/x.sock',
    socketMode: 0o660,
    socketGroup: 'containerd',
    metrics: ':9100',
    quiet: true,
  });
});

test('the command line goes before the file', async () => {
  const toml = 'root = "/a"\nsocket = "/b"\nmetrics = 9100\nquiet = false\n';
  expect(await options(toml, '--socket', '/other', '--root', '/root', '--quiet')).toMatchObject({
    root: '/root',
    socket: '/other',
    metrics: '9100',
    quiet: true,
  });
});

test.each([
  ['socket = "x"\n\nsokcet = "y"', ':3: unknown key "sokcet"; there are '],
  ['# socket\n[socket]\npath = "x"', ':2: socket is a text in quotes'],
  ['[plugins.x]\ny = 1', ':1: unknown key "plugins"'],
  ['config = "other"', ':1: unknown key "config"'],
  ['version = 2', ':1: unknown key "version"'],
  ['"a b" = 2', ':1: unknown key "a b"'],
  ['__proto__ = 2', ':1: unknown key "__proto__"'],
  ['socket = ["x"]', ':1: socket is a text in quotes'],
  ['quiet = "yes"', ':1: quiet is true or false'],
  ['\nsocket_mode = "999"', ':2: socket_mode is "999": Give permissions such as 660.'],
  ['socket = "x"\nsocket = "y"', ':2: '],
  ['socket = x', ':1: '],
])('%j is refused with file and line', async (toml, says) => {
  await expect(options(toml)).rejects.toMatchObject({
    name: 'LayerfsError',
    code: 'invalid-argument',
    message: expect.stringContaining(`${join(folder, 'c.toml')}${says}`) as unknown,
  });
});

test('a file that is not there, or far too long', async () => {
  await expect(options('x', '--config', join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(options(`#${'x'.repeat(2 << 20)}`)).rejects.toThrow('has more than 1048576 bytes');
});
