import { Option } from 'commander';
import { json, maxLayerSize } from './options.js';
import type { AddCommand } from './program.js';

/** Images as a whole. */
export function addImageCommands(command: AddCommand): void {
  command(
    'import <path>',
    'take images into the store',
    (path) => `import ${path === '-' ? 'from standard input' : path}`,
    () => import('../commands/image/import.js'),
  )
    .option('-n, --name <name>', 'name of the image, as in docker (NAME means NAME:latest)')
    .option('-p, --platform <os/arch>', "which platform of a multi-platform image (default: this machine's)")
    .addOption(maxLayerSize())
    .addOption(json())
    .addHelpText(
      'after',
      `
PATH is an OCI layout folder, an oci-archive or docker-archive tar (docker save, podman save, skopeo copy), the tar of
a root filesystem (plain, gzip or zstd), a folder, or - for standard input. PATH:TAG picks one image of several.
Layers that are in the store already are not read again.

Examples:
  layerfs import ./layout --name app:1.2
  docker save alpine | layerfs import -
  layerfs import rootfs.tar.gz --name base`,
    );
  command(
    'export <image> <out>',
    'write an image as OCI layout folder, or as oci-archive (FILE.tar or -)',
    (image) => `export ${image}`,
    () => import('../commands/image/export.js'),
  )
    .addOption(json())
    .addHelpText(
      'after',
      `
All digests are those that the image came with. Where compressed blobs were dropped (layerfs prune --blobs), layers are
written uncompressed, with the same diffIDs, in a new manifest that says so.

Examples:
  layerfs export app ./layout
  layerfs export app - | docker load`,
    );
  command(
    'images',
    'list the images',
    () => 'list the images',
    () => import('../commands/image/images.js'),
  ).addOption(json());
  command(
    'inspect <image>',
    "show an image's manifest, config and layers",
    (image) => `inspect ${image}`,
    () => import('../commands/image/inspect.js'),
  ).addOption(new Option('--json', 'print JSON (it always does)'));
  command(
    'history <image>',
    'show how an image was made, newest step first',
    (image) => `show the history of ${image}`,
    () => import('../commands/image/history.js'),
  ).addOption(json());
  command(
    'tag <image> <name>',
    'give an image one more name',
    (image) => `tag ${image}`,
    () => import('../commands/image/tag.js'),
  ).addOption(json());
  command(
    'rmi <image...>',
    'take names away, and with its last name an image and what only it used',
    (images) => `remove ${[images].flat().join(', ')}`,
    () => import('../commands/image/rmi.js'),
  )
    .option('-f, --force', 'also when mounted or with snapshots: its layers stay as long as those need them')
    .addOption(json());
  command(
    'du',
    'show what images take, share and saved',
    () => 'add up what images take',
    () => import('../commands/image/du.js'),
  ).addOption(json());
}
