/** podman and buildah on a storage of their own, in a temporary folder, with a mount program of our choice. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../images/oci.js';
import { scratchFolder } from './scratch.js';

const TIMEOUT = 300_000;
/** What containers need on machines with mixed cgroups and a low limit of descriptors, and nothing from the network. */
const CONTAINER = ['--runtime', 'runc', '--network=none', '--ulimit=nofile=1024:1024', '--ulimit=nproc=1024:1024'];

/** A storage; give it back with {@link PodmanStorage.remove}. */
export class PodmanStorage {
  readonly folder = scratchFolder('layerfs-podman-', true);
  readonly #environment: NodeJS.ProcessEnv;

  /** @param mountProgram an absolute path */
  constructor(mountProgram: string, mountOptions = 'nodev') {
    const conf = join(this.folder, 'storage.conf');
    const lines = [
      '[storage]',
      'driver = "overlay"',
      `graphroot = "${this.folder}/graph"`,
      `runroot = "${this.folder}/run"`,
      '[storage.options.overlay]',
      `mount_program = "${mountProgram}"`,
      `mountopt = "${mountOptions}"`,
    ];
    writeFileSync(conf, lines.join('\n'));
    this.#environment = { ...process.env, CONTAINERS_STORAGE_CONF: conf };
  }

  /** Standard output of podman; throws with what it wrote to standard error when it fails. */
  podman(...args: string[]): Promise<string> {
    return this.#call('podman', '--cgroup-manager=cgroupfs', ...args);
  }

  /** Standard output of `sh -c SCRIPT` as root in a container that is kept under a name. */
  container(name: string, image: string, script: string): Promise<string> {
    return this.podman('run', '--name', name, ...CONTAINER, '--user', 'root', image, 'sh', '-ec', script);
  }

  /** Standard output of an image's own command. */
  command(image: string): Promise<string> {
    return this.podman('run', '--rm', ...CONTAINER, image);
  }

  /** As {@link container}, of one that is removed. */
  shell(image: string, script: string, ...options: string[]): Promise<string> {
    return this.podman('run', '--rm', ...CONTAINER, ...options, image, 'sh', '-ec', script);
  }

  /** Builds an image from the text of a Dockerfile and files for its context; each step is a layer. */
  build(tag: string, dockerfile: string, files: Record<string, string>): Promise<string> {
    const context = join(this.folder, 'context');
    rmSync(context, { recursive: true, force: true });
    mkdirSync(context);
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(join(context, name, '..'), { recursive: true });
      writeFileSync(join(context, name), content);
    }
    writeFileSync(join(context, 'Dockerfile'), dockerfile);
    return this.#call('buildah', 'bud', '--isolation=chroot', '--layers', '-t', tag, context);
  }

  /** What is mounted below the storage now, except its own root. */
  mounts(): string[] {
    return this.#allMounts().filter((path) => path !== `${this.folder}/graph/overlay`);
  }

  async remove(): Promise<void> {
    await this.podman('rm', '--all', '--force', '--time', '0');
    // podman binds the root of its layers onto itself, and leaves that.
    for (const path of this.#allMounts().toReversed()) await run('umount', [path]);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #allMounts(): string[] {
    return readFileSync('/proc/self/mounts', 'latin1')
      .split('\n')
      .map((line) => line.split(' ')[1])
      .filter((path) => path?.startsWith(`${this.folder}/`));
  }

  async #call(program: string, ...args: string[]): Promise<string> {
    const options = { env: this.#environment, timeout: TIMEOUT, maxBuffer: 2 ** 26 };
    const { stdout } = await run(program, args, options);
    return stdout;
  }
}
