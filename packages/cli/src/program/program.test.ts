import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { expect, test, vi } from 'vitest';
import { buildProgram, type Runner } from './program.js';

function program(runner: Runner = () => Promise.resolve()): { command: Command; said: () => string } {
  let said = '';
  const command = buildProgram('layerfs 1.2.3', runner);
  for (const each of [command, ...command.commands]) {
    each.configureOutput({ writeErr: (text) => (said += text), writeOut: (text) => (said += text) });
  }
  return { command, said: () => said };
}

async function run(...args: string[]): Promise<{ values: readonly unknown[]; task: string; command: string }> {
  const runner = vi.fn<Runner>(() => Promise.resolve());
  await program(runner).command.parseAsync(args, { from: 'user' });
  const [, values, doing] = runner.mock.calls[0];
  return { values, ...doing };
}

test('arguments come first, then one object with the options, global ones before or after the command', async () => {
  expect(await run('--root', '/s', 'import', 'x.tar', '-n', 'app', '--max-layer-size', '2k')).toEqual({
    values: ['x.tar', { root: '/s', name: 'app', maxLayerSize: 2048 }],
    command: 'import',
    task: 'import x.tar',
  });
  expect((await run('images', '--root', '/s', '-q')).values).toEqual([{ root: '/s', quiet: true }]);
  expect((await run('explain', '/mnt/etc')).values).toEqual(['/mnt/etc', undefined, {}]);
  expect((await run('rmi', 'a', 'b', '-f')).values).toEqual([['a', 'b'], { force: true }]);
  expect((await run('mount', 'app', '/mnt')).values.at(-1)).toEqual({});
  expect((await run('mount', 'app', '/mnt', '--passthrough')).values.at(-1)).toEqual({ passthrough: true });
  expect((await run('mount', 'app', '/mnt', '--no-passthrough')).values.at(-1)).toEqual({ passthrough: false });
  expect((await run('umount', '/mnt', '-l')).values).toEqual(['/mnt', { lazy: true }]);
});

test('errors name the task', async () => {
  expect((await run('import', '-')).task).toBe('import from standard input');
  expect((await run('rmi', 'a', 'b')).task).toBe('remove a, b');
  expect((await run('explain', 'app', '/etc')).task).toBe('explain /etc of app');
  expect((await run('mount', 'app', '/mnt')).task).toBe('mount app on /mnt');
});

test.each([
  [['bogus'], "layerfs: unknown command 'bogus'"],
  [['imprt', 'x'], '(Did you mean import?)'],
  [['import'], "layerfs: missing required argument 'path'\n(layerfs import --help explains it)"],
  [['import', 'a', 'b'], 'layerfs: too many arguments'],
  [['images', '--bogus'], "layerfs: unknown option '--bogus'"],
  [['import', 'x', '--max-layer-size', 'much'], 'Give a size such as 500M or 20G.'],
  [['import', 'x', '--max-layer-size', '0'], 'Give a size such as 500M or 20G.'],
  [['prune'], 'layerfs: say what to remove: --unused-for TIME, --keep-under SIZE or --blobs'],
  [['prune', '--unused-for', '30'], 'Give a time such as 30d, 12h or 45m.'],
  [['lease'], 'layerfs: give images to keep, or with --renew a lease'],
  [['lease', 'app', '--renew', 'x'], 'layerfs: give images to keep, or with --renew a lease'],
])('%j is a wrong command line', async (args, says) => {
  const { command, said } = program();
  await expect(command.parseAsync(args, { from: 'user' })).rejects.toMatchObject({
    name: 'CommanderError',
    exitCode: 1,
  });
  expect(said()).toContain(says);
});

const REQUIRED: ReadonlyMap<string, readonly string[]> = new Map([
  ['prune', ['--blobs']],
  ['lease', ['x']],
]);

test('every command can be loaded', async () => {
  const { command } = program(async (load) => {
    expect(await load()).toMatchObject({ run: expect.any(Function) as unknown });
  });
  for (const each of command.commands) {
    const args = each.registeredArguments
      .filter(({ required }) => required)
      .map(({ argChoices }) => argChoices?.[0] ?? 'x');
    await command.parseAsync([each.name(), ...args, ...(REQUIRED.get(each.name()) ?? [])], { from: 'user' });
  }
  expect.assertions(command.commands.length);
});

test('the documentation has every command and every option', () => {
  const text = readFileSync(new URL('../../../../docs/cli.md', import.meta.url), 'utf8');
  const lacking: string[] = [];
  for (const each of program().command.commands) {
    const start = text.indexOf(`\n### ${each.name()}`);
    const section = start === -1 ? '' : text.slice(start, text.indexOf('\n##', start + 5));
    if (section === '') lacking.push(each.name());
    for (const { long } of each.options) if (!section.includes(String(long))) lacking.push(`${each.name()} ${long}`);
  }
  expect(lacking).toEqual([]);
});
