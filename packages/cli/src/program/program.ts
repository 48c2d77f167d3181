import { Command } from 'commander';
import type { GlobalOptions } from '../context.js';
import type { Doing } from '../errors.js';
import { print } from '../output.js';
import { addContainerdCommands } from './containerd.js';
import { addContentCommands } from './content.js';
import { addImageCommands } from './image.js';
import { addMountCommands } from './mount.js';
import { addRegistryCommands } from './registry.js';
import { addSnapshotCommands } from './snapshot.js';
import { addStoreCommands } from './store.js';

/** What a command's module exports. */
export interface CommandModule {
  // Each takes its own arguments, then its options: commander has checked their number.
  readonly run: (...args: never[]) => Promise<void>;
}

/** Runs what was asked for; `load` brings in the command's code, `values` are its arguments and then its options. */
export type Runner = (load: () => Promise<CommandModule>, values: readonly unknown[], doing: Doing) => Promise<void>;

/** Adds a command. `task` says after "cannot" what it does, from its arguments. */
export type AddCommand = (
  usage: string,
  description: string,
  task: (...args: string[]) => string,
  load: () => Promise<CommandModule>,
) => Command;

/**
 * The command line: every command with its options and help. A command's code is loaded only when it runs, so that help
 * and mistakes are answered quickly.
 */
export function buildProgram(version: string, runner: Runner): Command {
  const program = new Command('layerfs')
    .description('A union filesystem and layer store for container images.')
    .version(version)
    .option('--root <folder>', "the store (default: $LAYERFS_ROOT, else the system's for root and your own for others)")
    .option('-q, --quiet', 'print only what was asked for')
    .showHelpAfterError('(layerfs --help lists the commands)')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'layerfs: ')),
      // As all that commands print: `layerfs --help | head` is no error.
      writeOut: (text) => print(text.replace(/\n$/, '')),
    })
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  layerfs import ./app.tar --name app      take in an image of docker save, skopeo or a build
  layerfs mount app /mnt                   look at its merged root
  layerfs explain /mnt/etc/passwd          which layer does this come from?
  layerfs unmount /mnt

layerfs COMMAND --help explains a command. Exit codes: 0 done, 1 failed, 2 wrong command line, 3 not found,
4 bad input, 5 not permitted, 6 in use, 130 interrupted.`,
    );

  const command: AddCommand = (usage, description, task, load) => {
    const name = usage.split(' ')[0] ?? usage;
    return program
      .command(usage)
      .description(description)
      .showHelpAfterError(`(layerfs ${name} --help explains it)`)
      .action(async (...args: unknown[]) => {
        // Commander passes the arguments, the command's options, and the command itself.
        const values = args.slice(0, -2);
        const options = { ...program.opts<GlobalOptions>(), ...(args.at(-2) as object) };
        const doing = { command: name, task: task(...values.map((value) => value as string)) };
        await runner(load, [...values, options], doing);
      });
  };

  program.commandsGroup('Images:');
  addImageCommands(command);
  program.commandsGroup('Registries:');
  addRegistryCommands(command);
  program.commandsGroup('What is in an image:');
  addContentCommands(command);
  program.commandsGroup('Mounts:');
  addMountCommands(command);
  program.commandsGroup('Writable snapshots:');
  addSnapshotCommands(command);
  program.commandsGroup('containerd:');
  addContainerdCommands(command);
  program.commandsGroup('The store:');
  addStoreCommands(command);
  program.commandsGroup('More:').helpCommand('help [command]', 'explain a command');
  const completion = command(
    'completion <shell> [words...]',
    'print what makes a shell complete these commands: bash, zsh or fish',
    (shell) => `complete for ${shell}`,
    () => import('../commands/completion.js'),
  ).addHelpText(
    'after',
    `
Names of images, snapshots, leases and mountpoints are those of the store. WORDS are for the script itself: it asks with them.

Examples:
  layerfs completion bash > /etc/bash_completion.d/layerfs
  layerfs completion zsh > /usr/local/share/zsh/site-functions/_layerfs
  layerfs completion fish > ~/.config/fish/completions/layerfs.fish`,
  );
  completion.registeredArguments[0].choices(['bash', 'zsh', 'fish']);
  return program;
}
