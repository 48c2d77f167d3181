/** podman and skopeo on a storage of their own. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';

/** A storage. */
export interface Storage {
  /** Where it keeps layers. */
  readonly graph: string;
  /** To be put before a shell command. */
  readonly environment: string;
  close(): void;
}

/** Makes one in an empty folder. Root only. */
export function openStorage(folder: string): Storage {
  const [graph, config] = [join(folder, 'graph'), join(folder, 'storage.conf')];
  mkdirSync(graph);
  const lines = ['[storage]', 'driver = "overlay"', `graphroot = "${graph}"`, `runroot = "${join(folder, 'run')}"`];
  writeFileSync(config, lines.join('\n'));
  // podman binds the root of its layers onto itself, and leaves that.
  const close = onRelease(() => void run('sh', '-c', 'umount "$1" 2> /dev/null || true', 'sh', join(graph, 'overlay')));
  return { graph, environment: `CONTAINERS_STORAGE_CONF=${config}`, close };
}
