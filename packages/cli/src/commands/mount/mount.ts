import {
  LayerfsError,
  mount,
  mountByKernel,
  spawnServer,
  type LayerfsErrorCode,
  type MountInfo,
  type MountOptions,
  type Store,
} from 'layerfs';
import type { StartedServer } from 'layerfs/server';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { note, print, printJson } from '../../output.js';

export interface Options extends GlobalOptions {
  readonly foreground?: boolean;
  readonly verbose?: boolean;
  readonly transport?: 'auto' | 'kernel' | 'fuse-native';
  readonly mountMode?: 'fuse' | 'kernel' | 'auto';
  readonly trace?: string;
  readonly profile?: string;
  readonly verify?: 'open';
  readonly passthrough?: boolean;
  readonly rw?: boolean;
  readonly name?: string;
  readonly volatile?: boolean;
  readonly dev?: boolean;
  readonly suid?: boolean;
  readonly allowOther?: boolean;
  readonly json?: boolean;
}

/** @param server one for a mount that is served by another process, started already */
export async function run(image: string, mountpoint: string, options: Options, server?: StartedServer): Promise<void> {
  const signal = interruption();
  const mountOptions: MountOptions = {
    ...(options.passthrough === undefined ? {} : { passthrough: options.passthrough }),
    writable: options.rw === true,
    volatile: options.volatile === true,
    ...(options.name === undefined ? {} : { name: options.name }),
    allowDevices: options.dev === true,
    allowSetuid: options.suid === true,
    ...(options.allowOther === true ? { allowOther: true } : {}),
    ...(options.transport === undefined ? {} : { transport: options.transport }),
    ...(options.verify === undefined ? {} : { verify: options.verify }),
    ...(options.trace === undefined ? {} : { trace: options.trace }),
    ...(options.profile === undefined ? {} : { profile: options.profile }),
    signal,
  };
  const onlyServed = servedOptions(options);
  if (options.mountMode === 'kernel' && onlyServed !== undefined) {
    throw new LayerfsError(
      'invalid-argument',
      `${onlyServed} needs a serving process, which --mount-mode kernel has not`,
    );
  }
  await withStore(options, async (store) => {
    if ((options.mountMode ?? 'fuse') !== 'fuse' && onlyServed === undefined) {
      const info = await kernelMount(store, image, mountpoint, mountOptions, options);
      if (info !== undefined) return report(info, options);
    }
    if (options.foreground !== true) {
      report(await spawnServer(store, image, mountpoint, mountOptions, server), options);
      return;
    }
    const mounted = await mount(store, image, mountpoint, mountOptions);
    report(mounted.info, options);
    if (options.quiet !== true && options.json !== true) note('Ctrl-C unmounts');
    const stopped = new Promise<void>((_, reject) => {
      // Lazy: somebody in the mount must not keep Ctrl-C from ending it.
      const stop = (): void => void mounted.unmount({ lazy: true }).catch(reject);
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
    });
    await Promise.race([mounted.finished, stopped]);
  });
}

/** The first option that only a mount with a serving process can have. */
function servedOptions(options: Options): string | undefined {
  if (options.foreground === true) return '--foreground';
  if (options.trace !== undefined) return '--trace';
  if (options.profile !== undefined) return '--profile';
  if (options.verify !== undefined) return '--verify';
  if (options.transport === 'fuse-native') return '--transport fuse-native';
  return options.passthrough === false ? '--no-passthrough' : undefined;
}

/** Codes of what a mount by FUSE may be able to do all the same. */
const NOT_BY_KERNEL: ReadonlySet<LayerfsErrorCode> = new Set(['unavailable', 'unimplemented', 'permission-denied']);

/** @returns undefined when it cannot be done, and another way will do */
async function kernelMount(
  store: Store,
  image: string,
  mountpoint: string,
  mountOptions: MountOptions,
  options: Options,
): Promise<MountInfo | undefined> {
  try {
    return await mountByKernel(store, image, mountpoint, mountOptions);
  } catch (error) {
    const other = options.mountMode === 'auto' && error instanceof LayerfsError && NOT_BY_KERNEL.has(error.code);
    if (!other) throw error;
    if (options.verbose === true) note(`not by the kernel: ${error.message}`);
    return undefined;
  }
}

const MOUNTED_BY = {
  kernel: 'mount(2)',
  fusermount3: 'fusermount3',
  'fuse-native': 'libfuse 2 (fuse-native)',
} as const;

function report(info: MountInfo, options: Options): void {
  if (options.json === true) return printJson(info);
  if (options.quiet === true) return;
  const what = info.snapshot === undefined ? info.ref : `snapshot ${info.snapshot} of ${info.ref}`;
  print(`${what} is mounted on ${info.mountpoint}`);
  if (options.verbose !== true) return;
  print(`  image        ${info.image}`);
  if (info.kernel !== undefined) {
    const backing = info.kernel.backing === 'file' ? 'its file' : 'a loop device';
    print(`  server       none: the kernel shows an EROFS image from ${backing}, through overlayfs`);
    return;
  }
  print(`  server       process ${info.pid}`);
  print(`  mounted by   ${MOUNTED_BY[info.transport]}`);
  print(`  passthrough  ${info.passthrough ? 'yes' : 'no'}: ${info.passthroughReason}`);
}
