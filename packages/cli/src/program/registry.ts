import { json, maxLayerSize, withRegistryOptions } from './options.js';
import type { AddCommand } from './program.js';

/** Between registries and the store. */
export function addRegistryCommands(command: AddCommand): void {
  withRegistryOptions(
    command(
      'pull <ref>',
      'take an image from a registry into the store',
      (ref) => `pull ${ref}`,
      () => import('../commands/registry/pull.js'),
    ),
  )
    .option('-n, --name <name>', 'name of the image, in place of REF')
    .option('-p, --platform <os/arch>', "which platform of a multi-platform image (default: this machine's)")
    .option('--all-platforms', 'every platform; the names of the others get theirs at the end')
    .addOption(maxLayerSize())
    .addOption(json())
    .addHelpText(
      'after',
      `
REF is [HOST/]PATH[:TAG][@DIGEST]. Layers that are in the store already are not fetched, and neither is what had come when an
earlier pull was interrupted. Credentials are those of docker login and podman login, and of their helpers.

Examples:
  layerfs pull debian:12
  layerfs pull localhost:5000/team/app@sha256:…`,
    );
  withRegistryOptions(
    command(
      'push <image> [ref]',
      'put an image into a registry',
      (image, ref) => `push ${image}${ref === undefined ? '' : ` to ${ref}`}`,
      () => import('../commands/registry/push.js'),
    ),
  )
    .option('--all-platforms', 'the whole index that it was pulled with')
    .addOption(json());
  withRegistryOptions(
    command(
      'copy <ref1> <ref2>',
      'copy an image from one registry to another',
      (from, to) => `copy ${from} to ${to}`,
      () => import('../commands/registry/copy.js'),
    ),
  )
    .option('-p, --platform <os/arch>', "which platform of a multi-platform image (default: this machine's)")
    .option('--all-platforms', 'the whole index, as it is')
    .addOption(json())
    .addHelpText(
      'after',
      `
Digests stay what they are. Nothing is kept here: layers that the store has come from there, the others go straight through. Within one
registry it takes blobs from the other repository itself.

Example:
  layerfs copy debian:12 localhost:5000/mirror/debian:12 --all-platforms`,
    );
  withRegistryOptions(
    command(
      'tags <repository>',
      'list what a repository of a registry has',
      (repository) => `list the tags of ${repository}`,
      () => import('../commands/registry/tags.js'),
    ),
  ).addOption(json());
  withRegistryOptions(
    command(
      'login <registry>',
      'keep credentials for a registry, once it has taken them',
      (name) => `log in to ${name}`,
      () => import('../commands/registry/login.js'),
    ),
  )
    .option('-u, --username <name>', 'the user (default: asked for)')
    .option('--password-stdin', 'read the password from standard input (default: asked for, and not shown)')
    .addHelpText(
      'after',
      `
They are kept where docker, podman and skopeo find them, too: by the credential helper that is configured, else in a file of mode 0600.

Examples:
  layerfs login registry.example:5000
  pass registry | layerfs login registry.example:5000 --username me --password-stdin`,
    );
  command(
    'logout <registry>',
    'forget the credentials for a registry',
    (name) => `log out of ${name}`,
    () => import('../commands/registry/logout.js'),
  );
}
