/** A throw-away store, and mounts from it, through the `layerfs` command. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { layerfs, layerfsOk, type CliOptions } from './cli.js';
import { scratchFolder } from './scratch.js';
import { mountsBelow } from './store-listing.js';
import { DEFAULT_TRANSPORT, transportOptions, type Transport } from './transports.js';
import { run } from '../images/oci.js';

export class Workplace {
  readonly #disk: boolean;
  readonly transport: Transport;
  #folder: string | undefined;
  #mounts = 0;

  /** `disk`: on a real disk, also where there is memory enough. `transport`: by which {@link mount} mounts. */
  constructor(options: { disk?: boolean; transport?: Transport } = {}) {
    this.#disk = options.disk === true;
    this.transport = options.transport ?? DEFAULT_TRANSPORT;
  }

  /** Made when it is first asked for: nobody would remove that of tests that are skipped. */
  get folder(): string {
    return (this.#folder ??= scratchFolder('layerfs-test-', this.#disk));
  }

  get root(): string {
    return join(this.folder, 'store');
  }

  get env(): Record<string, string> {
    return { LAYERFS_ROOT: this.root };
  }

  /** Runs a command on this store; it must succeed. */
  ok(args: string[], options: CliOptions = {}): Promise<string> {
    return layerfsOk(args, { ...options, env: { ...this.env, ...options.env } });
  }

  /** Runs a command on this store, whatever comes of it. */
  try(args: string[], options: CliOptions = {}): ReturnType<typeof layerfs> {
    return layerfs(args, { ...options, env: { ...this.env, ...options.env } });
  }

  /** A new empty folder. */
  newFolder(name = 'folder'): string {
    const path = join(this.folder, `${name}-${this.#mounts++}`);
    mkdirSync(path);
    return path;
  }

  /** Mounts an image at a new mountpoint. */
  async mount(ref: string, ...options: string[]): Promise<string> {
    const mountpoint = this.newFolder('mnt');
    await this.ok(['mount', ...transportOptions(this.transport), ...options, ref, mountpoint]);
    return mountpoint;
  }

  async unmount(mountpoint: string): Promise<void> {
    await this.ok(['unmount', mountpoint]);
  }

  /** Unmounts what is left, also after a failed test, and removes everything. */
  async remove(): Promise<void> {
    if (this.#folder === undefined) return;
    for (const mountpoint of mountsBelow(this.folder).toReversed()) {
      const { code } = await this.try(['unmount', '--lazy', mountpoint]);
      if (code !== 0) await run('umount', ['-l', mountpoint]);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
