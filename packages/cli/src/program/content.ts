import { Option } from 'commander';
import { json } from './options.js';
import type { AddCommand } from './program.js';

/** What is in an image, without a mount. */
export function addContentCommands(command: AddCommand): void {
  command(
    'tree <image> [path]',
    'list the merged root of an image',
    (image) => `list ${image}`,
    () => import('../commands/content/tree.js'),
  )
    .option('-l, --layers', 'show which layer each entry comes from')
    .addOption(new Option('--json', 'print JSON, one object a line (docs/cli.md)'))
    .addHelpText('after', '\nExamples:\n  layerfs tree app /etc\n  layerfs tree app --layers | grep passwd');
  command(
    'cat <image> <path>',
    'print a file of an image',
    (image, path) => `print ${path} of ${image}`,
    () => import('../commands/content/cat.js'),
  );
  command(
    'checkout <image> <folder>',
    'write the merged root as plain files to a new or empty folder',
    (image, folder) => `check out ${image} to ${folder}`,
    () => import('../commands/content/checkout.js'),
  ).addOption(json());
  command(
    'explain <image-or-path> [path]',
    'say which layer a path comes from and what it hides',
    (target, path) => `explain ${path === undefined ? target : `${path} of ${target}`}`,
    () => import('../commands/content/explain.js'),
  )
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  layerfs explain /mnt/etc/passwd     a path below a mountpoint
  layerfs explain app /etc/passwd     the same without a mount`,
    );
}
