import { startServer } from 'layerfs/server';
import type { Options } from './mount.js';

/** `layerfs mount IMAGE MOUNTPOINT`: its server starts while the store is opened. */
export async function run(image: string, mountpoint: string, options: Options): Promise<void> {
  const served = (options.mountMode ?? 'fuse') === 'fuse' && options.foreground !== true;
  const server = served ? startServer(image, mountpoint) : undefined;
  try {
    const { run: mount } = await import('./mount.js');
    await mount(image, mountpoint, options, server);
  } catch (error) {
    server?.abandon();
    throw error;
  }
}
