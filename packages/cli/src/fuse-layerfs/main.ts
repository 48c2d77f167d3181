/** `fuse-layerfs`: mounts a union of folders, with fuse-overlayfs's command line. Exit code 0 means that it is mounted. */
import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { mountFolders, type FoldersPlan } from 'layerfs/folders';
import { helpText, versionText } from './help.js';
import { parseCommandLine, type FuseLayerfsOptions } from './options.js';

const NAME = 'fuse-layerfs';
const PROTOCOL = '7.45';

function complain(text: string): void {
  process.stderr.write(`${NAME}: ${text}\n`);
}

function planOf(options: FuseLayerfsOptions): FoldersPlan {
  const { mount, upper, lowerdirs } = options;
  return {
    kind: 'folders',
    mountpoint: resolve(options.mountpoint),
    lowers: lowerdirs.map((folder) => resolve(folder)),
    ...(upper === undefined ? {} : { upper: { dir: resolve(upper.dir), work: resolve(upper.work) } }),
    ...(options.uidRanges === undefined ? {} : { uidRanges: options.uidRanges }),
    ...(options.gidRanges === undefined ? {} : { gidRanges: options.gidRanges }),
    ...(options.squashUid === undefined ? {} : { squashUid: options.squashUid }),
    ...(options.squashGid === undefined ? {} : { squashGid: options.squashGid }),
    volatile: !options.fsync,
    ...(options.timeout === undefined ? {} : { lifetime: options.timeout }),
    xattrs: options.xattrs,
    acl: options.acl,
    passthrough: true,
    fsname: mount.fsname ?? NAME,
    subtype: mount.subtype ?? NAME,
    readOnly: mount.readOnly,
    suid: mount.suid,
    dev: mount.dev,
    exec: mount.exec,
    atime: mount.atime,
    allowOther: mount.allowOther,
  };
}

/** Options that are understood, and do nothing here yet that their user would rely on. */
function warnOfMissing(options: FuseLayerfsOptions): void {
  if (options.context !== undefined) complain('context is not supported: files keep their SELinux labels');
  if (options.xattrPermissions !== 0)
    complain('xattr_permissions is not supported: owners and modes are the real ones');
  if (options.staticNlink) complain('static_nlink is not needed: link counts of folders are right, and free');
}

async function mount(options: FuseLayerfsOptions): Promise<void> {
  const { finished, pid, passthrough, reason } = await mountFolders(planOf(options));
  if (options.debug) complain(`served by process ${pid}; passthrough: ${passthrough ? 'yes' : reason}`);
  if (!options.foreground) return;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.kill(pid, signal));
  // The server does not keep this process alive.
  const alive = setInterval(() => undefined, 60_000);
  await finished;
  clearInterval(alive);
}

const line = parseCommandLine(process.argv.slice(2), process.geteuid?.() === 0);
switch (line.kind) {
  case 'help':
    process.stdout.write(helpText(basename(process.argv[1], '.js')));
    break;
  case 'version': {
    const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
    process.stdout.write(versionText((JSON.parse(file) as { version: string }).version, PROTOCOL));
    break;
  }
  case 'wrong':
    for (const warning of line.warnings) complain(warning);
    for (const error of line.errors) complain(error);
    process.exitCode = 1;
    break;
  case 'mount':
  default:
    for (const warning of line.warnings) complain(warning);
    warnOfMissing(line.options);
    try {
      await mount(line.options);
    } catch (error) {
      complain(error instanceof Error ? error.message : String(error));
      process.exitCode = 1;
    }
}
