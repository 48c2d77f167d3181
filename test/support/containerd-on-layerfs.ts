/** A containerd of the test's own that has our service as its snapshotter `layerfs`. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Layout, machine, run, type LayerInfo } from '../images/oci.js';
import { CLI } from './cli.js';
import { startContainerd, type Containerd } from './containerd.js';
import { scratchFolder } from './scratch.js';
import { Service } from './service.js';

/** Both, running, in a folder of their own. */
export class ContainerdOnLayerfs {
  readonly folder: string;
  /** Its store is `store` in the folder. */
  readonly service: Service;
  #containerd: Containerd;

  private constructor(folder: string, service: Service, containerd: Containerd) {
    this.folder = folder;
    this.service = service;
    this.#containerd = containerd;
  }

  /** @param prefix of the folder's name; short, as it is part of a socket's path */
  static async start(prefix: string): Promise<ContainerdOnLayerfs> {
    // On a disk: overlayfs wants trusted.* attributes of upper, and containerd a database that syncs.
    const folder = scratchFolder(prefix, true);
    const service = new Service(join(folder, 'store'), join(folder, 's'));
    await service.start();
    mkdirSync(join(folder, 'containerd'));
    return new ContainerdOnLayerfs(folder, service, await startContainerd(service.socket, join(folder, 'containerd')));
  }

  /** The process of containerd. */
  get pid(): number {
    return this.#containerd.pid;
  }

  /** The socket of containerd. */
  get socket(): string {
    return join(this.folder, 'containerd/c.sock');
  }

  /** What ctr prints. */
  async ctr(...args: string[]): Promise<string> {
    return (await this.#containerd.ctr(...args)).stdout;
  }

  /**
   * Makes an image of layers, and lets containerd import and unpack it.
   * @param tars of its layers, the lowest first
   * @returns the archive, which stays
   */
  async importImage(name: string, tars: readonly Readable[]): Promise<string> {
    const folder = mkdtempSync(join(this.folder, 'image-'));
    const layout = await Layout.create(join(folder, 'layout'));
    const infos: LayerInfo[] = [];
    for (const tar of tars) infos.push(await layout.addLayer(tar, 'gzip'));
    layout.tag(await layout.addImage(infos, machine()), name);
    await layout.finish();
    const archive = join(folder, 'image.tar');
    await run('tar', ['-cf', archive, '-C', join(folder, 'layout'), '.']);
    await this.ctr('image', 'import', '--snapshotter', 'layerfs', archive);
    return archive;
  }

  /** IDs of snapshots that are folders: not sealed, or still given to others. */
  folders(): string[] {
    return readdirSync(join(this.folder, 'store/snapshotter/snapshots'));
  }

  /** Runs `layerfs` on the store. @returns what it prints */
  async layerfs(...args: string[]): Promise<string> {
    return (await run(process.execPath, [CLI, '--root', join(this.folder, 'store'), ...args])).stdout;
  }

  /** After containerd was killed. */
  async restartContainerd(): Promise<void> {
    await this.#containerd.stop();
    rmSync(this.socket, { force: true });
    this.#containerd = await startContainerd(this.service.socket, join(this.folder, 'containerd'));
  }

  /** Ends both and removes the folder. */
  async stop(): Promise<void> {
    await this.#containerd.stop();
    await this.service.stop();
    this.service.unmount();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
