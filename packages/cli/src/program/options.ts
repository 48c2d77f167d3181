import { InvalidArgumentError, Option, type Command } from 'commander';
import { parseDuration, parseSize } from '../format.js';

/** `--json`, as most commands have it. */
export function json(): Option {
  return new Option('--json', 'print JSON (docs/cli.md)');
}

/** What every command takes that unpacks layers. */
export function maxLayerSize(): Option {
  return new Option(
    '--max-layer-size <size>',
    'refuse a layer that is larger when uncompressed, such as 20G',
  ).argParser(size);
}

/** What every command takes that asks registries. */
export function withRegistryOptions(added: Command): Command {
  return added
    .option('--plain-http', 'without TLS (a registry on this machine is asked so where it has none)')
    .option('--ca <file>', 'trust this authority, too (PEM)')
    .option('--cert <file>', 'prove who we are with this certificate (PEM)')
    .option('--key <file>', 'its key, where it is not in the same file')
    .option('--hosts-dir <folder>', "settings and mirrors of registries (default: containerd's and Docker's certs.d)")
    .option('--config <file>', 'TOML with a section registries (default: $LAYERFS_CONFIG, or config.toml of layerfs)');
}

/** Permissions in octal. */
export function mode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new InvalidArgumentError('Give permissions such as 660.');
  return Number.parseInt(text, 8);
}

/** @returns milliseconds */
export function duration(text: string): number {
  const time = parseDuration(text);
  if (time === undefined) throw new InvalidArgumentError('Give a time such as 30d, 12h or 45m.');
  return time;
}

/** @returns bytes */
export function size(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes === 0) throw new InvalidArgumentError('Give a size such as 500M or 20G.');
  return bytes;
}
