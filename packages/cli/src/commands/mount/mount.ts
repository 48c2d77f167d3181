import { mount, spawnServer, type MountInfo, type MountOptions } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { note, print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly foreground?: boolean;
  readonly verbose?: boolean;
  readonly trace?: string;
  readonly passthrough?: boolean;
  readonly rw?: boolean;
  readonly name?: string;
  readonly volatile?: boolean;
  readonly dev?: boolean;
  readonly suid?: boolean;
  readonly allowOther?: boolean;
  readonly json?: boolean;
}

/** `layerfs mount IMAGE MOUNTPOINT` */
export async function run(image: string, mountpoint: string, options: Options): Promise<void> {
  const signal = interruption();
  const mountOptions: MountOptions = {
    ...(options.passthrough === undefined ? {} : { passthrough: options.passthrough }),
    writable: options.rw === true,
    volatile: options.volatile === true,
    ...(options.name === undefined ? {} : { name: options.name }),
    allowDevices: options.dev === true,
    allowSetuid: options.suid === true,
    ...(options.allowOther === true ? { allowOther: true } : {}),
    ...(options.trace === undefined ? {} : { trace: options.trace }),
    signal,
  };
  await withStore(options, async (store) => {
    if (options.foreground !== true) {
      report(await spawnServer(store, image, mountpoint, mountOptions), options);
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

function report(info: MountInfo, options: Options): void {
  if (options.json === true) return printJson(info);
  if (options.quiet === true) return;
  const what = info.snapshot === undefined ? info.ref : `snapshot ${info.snapshot} of ${info.ref}`;
  print(`${what} is mounted on ${info.mountpoint}`);
  if (options.verbose !== true) return;
  print(`  image        ${info.image}`);
  print(`  server       process ${info.pid}`);
  print(`  mounted by   ${info.transport === 'kernel' ? 'mount(2)' : 'fusermount3'}`);
  print(`  passthrough  ${info.passthrough ? 'yes' : 'no'}: ${info.passthroughReason}`);
}
