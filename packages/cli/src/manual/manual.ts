import type { Command, Option } from 'commander';
import { helpText } from '../fuse-layerfs/help.js';
import { entry, header, prose, section, subsection } from './troff.js';

/** layerfs(1), of the command table that `--help` shows, too. */
export function layerfsManual(program: Command, version: string): string {
  const commands = program.commands.flatMap((command) => [
    subsection(usage(program, command)),
    prose(capital(sentence(command.description()))),
    ...options(command),
    ...remarks(command),
  ]);
  return page(
    header('layerfs', 1, version),
    section('NAME'),
    'layerfs \\- union filesystem and layer store for container images',
    section('SYNOPSIS'),
    prose('layerfs [OPTION...] COMMAND [ARGUMENT...]'),
    section('DESCRIPTION'),
    prose(program.description()),
    ...remarks(program),
    section('OPTIONS'),
    ...options(program),
    section('COMMANDS'),
    ...commands,
    section('ENVIRONMENT'),
    entry('LAYERFS_ROOT', 'The store, where --root does not name one.'),
    entry(
      'XDG_DATA_HOME',
      "Where the stores of ordinary users are, in the folder layerfs; else ~/.local/share. Root's is /var/lib/layerfs.",
    ),
    entry('LAYERFS_CONFIG', 'A TOML file with a section for registries, where --config does not name one.'),
    entry('LAYERFS_DEBUG', 'With any value, errors say where they come from.'),
    section('SEE ALSO'),
    prose('fuse-layerfs(8), mount(8), podman(1), buildah(1)'),
  );
}

/** fuse-layerfs(8), of what its `--help` prints. */
export function fuseLayerfsManual(version: string): string {
  const [usageLine, , description, , ...lines] = helpText('fuse-layerfs').trimEnd().split('\n');
  const out: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i];
    const heading = /^(\S.*):$/.exec(line)?.[1];
    const [, term, meaning] = /^ {4}(\S(?:.*\S)?) {2,}(\S.*)$/.exec(line) ?? [];
    if (heading !== undefined) out.push(section(heading.toUpperCase()));
    else if (meaning !== undefined) out.push(entry(term.replaceAll(/ {2,}/g, ', '), meaning));
    else if (line.trim() !== '') out.push(prose(line.trim()));
  }
  return page(
    header('fuse-layerfs', 8, version),
    section('NAME'),
    'fuse\\-layerfs \\- mount a union of folders, for podman and buildah',
    section('SYNOPSIS'),
    prose(usageLine.replace(/^usage: /, '')),
    section('DESCRIPTION'),
    prose(description),
    section('OPTIONS'),
    ...out,
    section('SEE ALSO'),
    prose('layerfs(1), mount(8), fusermount3(1), containers-storage.conf(5)'),
  );
}

function usage(program: Command, command: Command): string {
  return command.createHelp().commandUsage(command).replace(`${program.name()} `, '').replace(' [options]', '');
}

function options(command: Command): string[] {
  const help = command.createHelp();
  return help.visibleOptions(command).flatMap((option: Option) => {
    // Every command has it, and help says so.
    if (option.long === '--help' && command.parent !== null) return [];
    return [entry(option.flags, sentence(help.optionDescription(option)))];
  });
}

/** What `--help` says below the options. */
function remarks(command: Command): string[] {
  let text = '';
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  const rest = text.slice(text.indexOf(command.helpInformation()) + command.helpInformation().length).trim();
  return rest === '' ? [] : ['.PP', prose(rest)];
}

function sentence(text: string): string {
  return /[.!:]$/.test(text) ? text : `${text}.`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function page(...parts: string[]): string {
  const note = '.\\" Made from the command table by npm run manual: do not edit.';
  return `${[note, ...parts].join('\n')}\n`;
}
