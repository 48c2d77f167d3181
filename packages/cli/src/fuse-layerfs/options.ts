/**
 * The command line of fuse-overlayfs, as podman, buildah and mount(8) write it. Pure: nothing is opened or printed here.
 * An option that is not known is no error, so that storage.conf may say what only the kernel's overlayfs understands.
 */
import { parseIdRanges, type IdRange } from 'layerfs/folders';
import { splitOptions, unescaped, unquoted } from './split.js';

/** What is to be mounted, and how. Paths as given: relative ones belong to the current folder. */
export interface FuseLayerfsOptions {
  readonly mountpoint: string;
  /** Topmost first. */
  readonly lowerdirs: readonly string[];
  /** Absent: the mount is read-only. */
  readonly upper?: { readonly dir: string; readonly work: string };
  readonly uidRanges?: readonly IdRange[];
  readonly gidRanges?: readonly IdRange[];
  /** Every file is shown with this owner. */
  readonly squashUid?: number;
  readonly squashGid?: number;
  /** false: nothing is written to disk for its own sake (`fsync=0`, `volatile`). */
  readonly fsync: boolean;
  /** How long the kernel may trust what it was told, in seconds; absent: as long as we like. */
  readonly timeout?: number;
  readonly xattrs: boolean;
  readonly acl: boolean;
  /** Where owners and modes are kept beside the real ones: 0 nowhere, 1 privileged, 2 in a user attribute. */
  readonly xattrPermissions: 0 | 1 | 2;
  readonly staticNlink: boolean;
  readonly ino32: boolean;
  readonly xino: 'off' | 'auto' | 'on';
  readonly redirectDir?: 'off' | 'on' | 'follow' | 'nofollow';
  /** SELinux label of all files. */
  readonly context?: string;
  readonly mount: MountFlags;
  readonly foreground: boolean;
  readonly debug: boolean;
}

/** Options of every FUSE mount. */
export interface MountFlags {
  readonly readOnly: boolean;
  readonly suid: boolean;
  readonly dev: boolean;
  readonly exec: boolean;
  readonly atime: boolean;
  readonly allowOther: boolean;
  readonly allowRoot: boolean;
  readonly defaultPermissions: boolean;
  readonly autoUnmount: boolean;
  /** What /proc/self/mounts names as the source. */
  readonly fsname?: string;
  readonly subtype?: string;
  readonly maxRead?: number;
}

/** What a command line asks for. */
export type CommandLine =
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'mount'; readonly options: FuseLayerfsOptions; readonly warnings: readonly string[] }
  | { readonly kind: 'wrong'; readonly errors: readonly string[]; readonly warnings: readonly string[] };

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** What is known while options are read; each option changes it. */
interface Draft extends Mutable<Omit<FuseLayerfsOptions, 'mount' | 'mountpoint' | 'upper'>> {
  mount: Mutable<MountFlags>;
  upperdir?: string;
  workdir?: string;
  squashToRoot: boolean;
  readonly errors: string[];
}

type Setter = (draft: Draft, value: string, option: string) => void;

const MAX_ID = 2 ** 32 - 2;

/** A number in `[0, most]`, or an error. */
function number(set: (draft: Draft, value: number) => void, most = Number.MAX_SAFE_INTEGER): Setter {
  return (draft, value, option) => {
    const parsed = Number(value);
    if (/^\d+$/.test(value) && parsed <= most) set(draft, parsed);
    else draft.errors.push(`${option}: not a number${most < 10 ? ` from 0 to ${String(most)}` : ''}`);
  };
}

/** `name=0` or `name=1`; the name alone means 1. */
function flag(set: (draft: Draft, on: boolean) => void): Setter {
  return (draft, value, option) => {
    if (value === '') set(draft, true);
    else number((inner, parsed) => set(inner, parsed !== 0))(draft, value, option);
  };
}

/** An option that stands alone. */
function plain(set: (draft: Draft) => void): Setter {
  return (draft, value, option) => {
    if (value === '') set(draft);
    else draft.errors.push(`${option}: takes no value`);
  };
}

function oneOf<T extends string>(values: readonly T[], set: (draft: Draft, value: T) => void): Setter {
  return (draft, value, option) => {
    const found = values.find((each) => each === value);
    if (found === undefined) draft.errors.push(`${option}: not one of ${values.join(', ')}`);
    else set(draft, found);
  };
}

function path(set: (draft: Draft, value: string) => void): Setter {
  return (draft, value, option) => {
    if (value === '') draft.errors.push(`${option}: a folder is missing`);
    else set(draft, unescaped(unquoted(value)));
  };
}

function ranges(set: (draft: Draft, value: readonly IdRange[]) => void): Setter {
  return (draft, value, option) => {
    const parsed = parseIdRanges(value);
    if ('problem' in parsed) draft.errors.push(`${option}: ${parsed.problem}`);
    else set(draft, parsed);
  };
}

const ignored: Setter = () => undefined;

/** Known to the kernel's overlayfs, libfuse, fuse-overlayfs or mount(8); here they make no difference. */
const INDIFFERENT = `
  threaded fast_ino writeback plugins index metacopy userxattr nfs_export uuid
  clone_fd max_idle_threads max_threads max_write kernel_cache nonempty large_read splice_write splice_read splice_move
  async diratime nodiratime relatime norelatime strictatime lazytime
  defaults auto noauto nofail _netdev user users nouser
`
  .trim()
  .split(/\s+/);

const OPTIONS = new Map<string, Setter>(
  Object.entries({
    lowerdir: (draft, value) => (draft.lowerdirs = splitOptions(unquoted(value), ':').map(unescaped)),
    upperdir: path((draft, value) => (draft.upperdir = value)),
    workdir: path((draft, value) => (draft.workdir = value)),
    uidmapping: ranges((draft, value) => (draft.uidRanges = value)),
    gidmapping: ranges((draft, value) => (draft.gidRanges = value)),
    squash_to_root: flag((draft, on) => (draft.squashToRoot = on)),
    squash_to_uid: number((draft, id) => (draft.squashUid = id), MAX_ID),
    squash_to_gid: number((draft, id) => (draft.squashGid = id), MAX_ID),
    fsync: flag((draft, on) => (draft.fsync = on)),
    volatile: plain((draft) => (draft.fsync = false)),
    timeout: (draft, value, option) => {
      const seconds = value === '' ? NaN : Number(value);
      if (seconds >= 0) draft.timeout = seconds;
      else draft.errors.push(`${option}: not a number of seconds`);
    },
    noxattrs: flag((draft, on) => (draft.xattrs = !on)),
    noacl: flag((draft, on) => (draft.acl = !on)),
    xattr_permissions: number((draft, value) => (draft.xattrPermissions = value as 0 | 1 | 2), 2),
    static_nlink: flag((draft, on) => (draft.staticNlink = on)),
    ino32_t: flag((draft, on) => (draft.ino32 = on)),
    xino: oneOf(['off', 'auto', 'on'], (draft, value) => (draft.xino = value)),
    redirect_dir: oneOf(['off', 'on', 'follow', 'nofollow'], (draft, value) => (draft.redirectDir = value)),
    context: (draft, value) => (draft.context = unescaped(unquoted(value))),
    debug: plain((draft) => (draft.debug = draft.foreground = true)),
    ro: plain((draft) => (draft.mount.readOnly = true)),
    rw: plain((draft) => (draft.mount.readOnly = false)),
    suid: plain((draft) => (draft.mount.suid = true)),
    nosuid: plain((draft) => (draft.mount.suid = false)),
    dev: plain((draft) => (draft.mount.dev = true)),
    nodev: plain((draft) => (draft.mount.dev = false)),
    exec: plain((draft) => (draft.mount.exec = true)),
    noexec: plain((draft) => (draft.mount.exec = false)),
    atime: plain((draft) => (draft.mount.atime = true)),
    noatime: plain((draft) => (draft.mount.atime = false)),
    allow_other: plain((draft) => (draft.mount.allowOther = true)),
    allow_root: plain((draft) => (draft.mount.allowRoot = true)),
    default_permissions: plain((draft) => (draft.mount.defaultPermissions = true)),
    auto_unmount: plain((draft) => (draft.mount.autoUnmount = true)),
    fsname: (draft, value) => (draft.mount.fsname = unescaped(unquoted(value))),
    subtype: (draft, value) => (draft.mount.subtype = unescaped(unquoted(value))),
    max_read: number((draft, value) => (draft.mount.maxRead = value)),
    ...Object.fromEntries(INDIFFERENT.map((name) => [name, ignored])),
  } satisfies Record<string, Setter>),
);

/**
 * Reads a command line without the program's name.
 * @param root whether the effective user is root, for whom fuse-overlayfs lets in everybody by default
 */
export function parseCommandLine(args: readonly string[], root: boolean): CommandLine {
  const draft = defaults(root);
  const warnings: string[] = [];
  const positionals: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === '--') {
      positionals.push(...args.slice(i + 1));
      break;
    }
    if (arg === '-h' || arg === '--help') return { kind: 'help' };
    if (arg === '-V' || arg === '--version') return { kind: 'version' };
    if (arg === '-f') draft.foreground = true;
    else if (arg === '-d' || arg === '--debug') draft.debug = draft.foreground = true;
    else if (arg === '-o') {
      i++;
      if (i === args.length) draft.errors.push('-o: options are missing');
      else readOptions(args[i], draft, warnings);
    } else if (arg.startsWith('-o')) readOptions(arg.slice(2), draft, warnings);
    // -s: one thread, which is what serves a mount anyway.
    else if (arg.startsWith('-') && arg !== '-') {
      if (arg !== '-s') warnings.push(`unknown argument ignored: ${arg}`);
    } else positionals.push(arg);
  }
  return finish(draft, positionals, warnings);
}

function defaults(root: boolean): Draft {
  return {
    lowerdirs: [],
    fsync: true,
    xattrs: true,
    acl: true,
    xattrPermissions: 0,
    staticNlink: false,
    ino32: false,
    xino: 'off',
    squashToRoot: false,
    foreground: false,
    debug: false,
    errors: [],
    mount: {
      readOnly: false,
      // As fuse-overlayfs and libfuse begin: devices are no business of a container's root.
      suid: root,
      dev: false,
      exec: true,
      atime: false,
      allowOther: root,
      allowRoot: false,
      defaultPermissions: true,
      autoUnmount: false,
    },
  };
}

function readOptions(text: string, draft: Draft, warnings: string[]): void {
  for (const option of splitOptions(text, ',')) {
    const equals = option.indexOf('=');
    const name = equals < 0 ? option : option.slice(0, equals);
    const setter = OPTIONS.get(name);
    if (setter !== undefined) setter(draft, equals < 0 ? '' : option.slice(equals + 1), option);
    // Words for mount(8) itself (x-systemd.automount, comment=…).
    else if (!name.startsWith('x-') && name !== 'comment') warnings.push(`unknown argument ignored: ${option}`);
  }
}

function finish(draft: Draft, positionals: readonly string[], warnings: readonly string[]): CommandLine {
  const { errors, upperdir, workdir, squashToRoot, mount, ...options } = draft;
  const mountpoint = positionals.at(-1);
  if (mountpoint === undefined || mountpoint === '') errors.push('no mountpoint specified');
  if (positionals.length > 2) errors.push(`too many arguments: ${positionals.slice(0, -1).join(' ')}`);
  if (options.lowerdirs.length === 0) errors.push('lowerdir: not specified');
  if (upperdir !== undefined && workdir === undefined) errors.push('workdir: not specified, but upperdir is');
  if (errors.length > 0 || mountpoint === undefined) return { kind: 'wrong', errors, warnings };
  if (squashToRoot) {
    options.squashUid ??= 0;
    options.squashGid ??= 0;
  }
  const upper = upperdir === undefined || workdir === undefined ? {} : { upper: { dir: upperdir, work: workdir } };
  const readOnly = mount.readOnly || upperdir === undefined;
  return { kind: 'mount', options: { ...options, ...upper, mountpoint, mount: { ...mount, readOnly } }, warnings };
}
