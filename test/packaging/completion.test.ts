/** Completion in the shells themselves, of names that a store has. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../images/oci.js';
import { tarOf } from '../images/tar.js';
import { CLI } from '../support/cli.js';
import { Workplace } from '../support/mounted.js';
import { need } from '../support/needs.js';

const place = new Workplace();
let environment: NodeJS.ProcessEnv;
beforeAll(async () => {
  const bin = join(place.folder, 'bin');
  mkdirSync(bin);
  // As if installed, with this Node.
  writeFileSync(join(bin, 'layerfs'), `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`, { mode: 0o755 });
  environment = { ...process.env, ...place.env, HOME: place.folder, PATH: `${bin}:${process.env['PATH']}` };
  const archive = join(place.folder, 'root.tar');
  writeFileSync(archive, tarOf({ name: 'etc/' }));
  for (const name of ['app:1.0', 'app:2.0', 'base']) await place.ok(['import', archive, '--name', name]);
  for (const [shell, file] of [
    ['bash', 'layerfs.bash'],
    ['zsh', '_layerfs'],
    ['fish', 'layerfs.fish'],
  ]) {
    writeFileSync(join(place.folder, file), await place.ok(['completion', shell]));
  }
  mkdirSync(join(place.folder, 'some-folder'));
  writeFileSync(join(place.folder, 'some-file'), '');
});
afterAll(() => place.remove());

const shell = async (program: string, args: string[]): Promise<string> =>
  (await run(program, args, { cwd: place.folder, env: environment, timeout: 30_000 })).stdout;

/** What bash offers for a line; a folder or file of its own only where nothing else is. */
async function bash(line: string): Promise<string[]> {
  const script = `
    source ./layerfs.bash
    COMP_LINE=$1 COMP_POINT=\${#1}
    _layerfs
    ((\${#COMPREPLY[@]})) && printf '%s\\n' "\${COMPREPLY[@]}"
    true`;
  return (await shell('bash', ['--norc', '-c', script, 'bash', line])).split('\n').filter((word) => word !== '');
}

/**
 * Types each line and a tab in an interactive shell, on a terminal that zsh's own module makes, and gives what the lines have become.
 * @param setup what makes that shell ready
 */
async function onTerminal(program: string, setup: string, lines: string[]): Promise<string[]> {
  const script = `
    zmodload zsh/zpty
    until_said() { local text; zpty -r -m shell text "*$1*"; print -r -- "$text" }
    zpty shell "$1"
    zpty -w shell "$2; echo REA''DY"
    until_said READY >/dev/null
    for line in "\${@[3,-1]}"; do
      # After the tab: to the start of the line and its end, to have it printed instead of run.
      zpty -w -n shell "$line"$'\t\x01echo "\x05END"OF\n'
      until_said ENDOF | tr -d '\\r' | grep -a ENDOF | tail -n 1
    done
    zpty -d shell`;
  const said = await shell('zsh', ['-f', '-c', script, 'zsh', program, setup, ...lines]);
  return [...said.matchAll(/^(.*?) ?ENDOF$/gm)].map(([, line]) => line);
}

const LINES = ['layerfs unm', 'layerfs mount --mount-mode k', 'layerfs rmi ba', 'layerfs rmi app', 'layerfs rmi app:2'];
const COMPLETED = [
  'layerfs unmount',
  'layerfs mount --mount-mode kernel',
  'layerfs rmi base:latest',
  'layerfs rmi app:',
  'layerfs rmi app:2.0',
];

test('bash: commands, options, choices and names; what is before a colon stays', async (context) => {
  need(context, 'bash');
  expect(await bash('layerfs unm')).toEqual(['unmount']);
  expect(await bash('layerfs mount --mount-m')).toEqual(['--mount-mode']);
  expect(await bash('layerfs mount --mount-mode k')).toEqual(['kernel']);
  expect(await bash('layerfs mount --mount-mode=k')).toEqual(['kernel']);
  expect(await bash('layerfs rmi ')).toEqual(['app:1.0', 'app:2.0', 'base:latest']);
  expect(await bash('layerfs rmi app:2')).toEqual(['2.0']);
  expect(await bash('layerfs --root /nowhere rmi ')).toEqual([]);
  expect(existsSync('/nowhere')).toBe(false);
});

test('bash: on its command line, with paths', async (context) => {
  need(context, 'bash', 'zsh');
  const setup = "PS1=; bind 'set enable-bracketed-paste off'; source ./layerfs.bash";
  const lines = await onTerminal('bash --norc --noprofile -i', setup, [...LINES, 'layerfs mount base ./some']);
  expect(lines).toEqual([...COMPLETED, 'layerfs mount base ./some-folder/']);
});

test('zsh: on its command line, with paths', async (context) => {
  need(context, 'zsh');
  const setup =
    'PS1=; bindkey -e; unset zle_bracketed_paste; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D';
  const lines = await onTerminal('zsh -f -i', setup, [...LINES, 'layerfs mount base ./some']);
  expect(lines).toEqual([...COMPLETED, 'layerfs mount base ./some-folder']);
});

test('fish: words with descriptions, and paths', async (context) => {
  need(context, 'fish');
  const fish = async (line: string): Promise<string[]> => {
    const script = 'source ./layerfs.fish; complete -C $argv[1]';
    const lines = await shell('fish', ['--no-config', '-c', script, line]);
    return lines.split('\n').filter((each) => each !== '');
  };
  expect(await fish('layerfs unm')).toEqual(['unmount\tunmount']);
  expect(await fish('layerfs mount --mount-mode k')).toEqual(['kernel']);
  expect(await fish('layerfs rmi ')).toEqual(['app:1.0', 'app:2.0', 'base:latest']);
  expect(await fish('layerfs import ./some')).toEqual(expect.arrayContaining(['./some-file', './some-folder/']));
  expect((await fish('layerfs mount base ./some')).map((line) => line.split('\t')[0])).toEqual(['./some-folder/']);
});
