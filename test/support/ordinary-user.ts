/**
 * An ordinary user of this machine, with subordinate ids. Root makes one who exists in a mount and a process namespace of their own
 * alone, so that nothing of them is left; who is not root is the user.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LEAVE_FOREIGN_MOUNTS } from './foreign-mounts.js';
import { missing } from './needs.js';
import { scratchFolder } from './scratch.js';

const TOP = fileURLToPath(new URL('../..', import.meta.url));
/** The first ids of which one is nobody's. */
const FIRST_UID = 61_234;
export const SUBIDS = { first: 1_000_000_000, count: 65_536 } as const;

/** What a script runs in, besides the user's own rights. */
export type Namespace =
  /** Nothing. */
  | 'none'
  /** A user namespace with one id, and no mount namespace. */
  | 'no mounts'
  /** One id, and a mount namespace. */
  | 'single'
  /** All subordinate ids, and a mount namespace. */
  | 'ranges';

const ENTER: Record<Namespace, readonly string[]> = {
  none: [],
  'no mounts': ['unshare', '-Ur'],
  single: ['unshare', '-Urm'],
  ranges: ['unshare', '-Urm', '--map-auto'],
};

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ScriptOptions {
  readonly env?: Record<string, string>;
  /** Milliseconds. */
  readonly timeout?: number;
}

/** Why there can be no such user here, or none with subordinate ids. */
export function whyNoUser(): string | undefined {
  const reason = missing('unshare', 'setpriv', 'nsenter', 'newuidmap', 'fusermount3');
  if (reason !== undefined) return reason;
  if (!/--map-auto/.test(spawnSync('unshare', ['--help'], { encoding: 'utf8' }).stdout)) return 'needs util-linux 2.38';
  if (process.getuid?.() !== 0) {
    if (spawnSync('unshare', ['-Urm', '--map-auto', 'true']).status !== 0) return 'needs subordinate ids (/etc/subuid)';
    return missing('fuse');
  }
  if (missing('fuse') !== undefined) return missing('fuse');
  // What is mounted over must be there.
  if (!existsSync('/etc/subuid') || !existsSync('/etc/subgid')) return 'needs /etc/subuid and /etc/subgid';
  const uid = String(freeUid());
  const program = fileURLToPath(new URL('../../packages/cli/bin/layerfs.js', import.meta.url));
  const look = ['--reuid', uid, '--regid', uid, '--clear-groups', process.execPath, '--check', program];
  return spawnSync('setpriv', look).status === 0 ? undefined : 'another user cannot read this checkout';
}

function freeUid(): number {
  const taken = readFileSync('/etc/passwd', 'latin1');
  let uid = FIRST_UID;
  while (taken.includes(`:${String(uid)}:`)) uid++;
  return uid;
}

/** Run by root in the new namespaces: files that name the user, and a device that everybody may open. */
const SETUP = `${LEAVE_FOREIGN_MOUNTS}
for file in passwd group subuid subgid fuse.conf; do
  if test -e "/etc/$file"; then mount --bind "$1/etc/$file" "/etc/$file"; fi
done
mknod -m 666 "$1/fuse" c 10 229
mount --bind "$1/fuse" /dev/fuse
echo ready
read line || true`;

export class OrdinaryUser {
  readonly folder = scratchFolder('layerfs-user-', true);
  readonly home = join(this.folder, 'home');
  readonly uid: number;
  readonly #holder: ChildProcess | undefined;
  #init = 0;

  private constructor() {
    chmodSync(this.folder, 0o755);
    mkdirSync(this.home);
    if (process.getuid?.() !== 0) {
      this.uid = userInfo().uid;
      return;
    }
    this.uid = freeUid();
    chownSync(this.home, this.uid, this.uid);
    this.#writeEtc('user_allow_other\n');
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation', 'slave'];
    this.#holder = spawn('unshare', [...namespaces, 'sh', '-ec', SETUP, 'sh', this.folder], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }

  static async make(): Promise<OrdinaryUser> {
    const user = new OrdinaryUser();
    const holder = user.#holder;
    if (holder !== undefined) {
      const pid = String(holder.pid);
      const [said] = (await Promise.race([once(holder.stdout!, 'data'), once(holder, 'exit')])) as unknown[];
      if (String(said) !== 'ready\n') throw new Error('no namespaces could be made for an ordinary user');
      user.#init = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1'));
    }
    return user;
  }

  #writeEtc(fuseConf: string): void {
    const etc = join(this.folder, 'etc');
    mkdirSync(etc);
    const id = String(this.uid);
    writeFileSync(
      join(etc, 'passwd'),
      `${readFileSync('/etc/passwd', 'latin1')}layeruser:x:${id}:${id}::${this.home}:/bin/sh\n`,
      'latin1',
    );
    writeFileSync(join(etc, 'group'), `${readFileSync('/etc/group', 'latin1')}layeruser:x:${id}:\n`, 'latin1');
    for (const file of ['subuid', 'subgid']) {
      writeFileSync(join(etc, file), `layeruser:${String(SUBIDS.first)}:${String(SUBIDS.count)}\n`);
    }
    writeFileSync(join(etc, 'fuse.conf'), fuseConf);
  }

  /** Whether it is a user that root made, of whom all is known. */
  get isMade(): boolean {
    return this.#holder !== undefined;
  }

  /** Runs `sh -ec SCRIPT` in the user's home; `layerfs` and `fuse-layerfs` are this checkout's. Ends in all cases. */
  async try(namespace: Namespace, script: string, { env = {}, timeout = 300_000 }: ScriptOptions = {}): Promise<Ended> {
    const node = process.execPath;
    const functions = ['layerfs', 'fuse-layerfs']
      .map((name) => `${name.replace('-', '_')}() { '${node}' '${TOP}packages/cli/bin/${name}.js' "$@"; }`)
      .join('\n');
    const id = String(this.uid);
    const root = this.isMade
      ? [
          'nsenter',
          '-t',
          String(this.#init),
          '--mount',
          '--pid',
          'setpriv',
          '--reuid',
          id,
          '--regid',
          id,
          '--clear-groups',
        ]
      : [];
    const shell = ['sh', '-ec', `cd "$HOME"\n${functions}\n${script}`];
    const [program, ...args] = [...root, ...ENTER[namespace], ...shell];
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
      timeout,
      env: {
        PATH: `${dirname(node)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        HOME: this.home,
        NO_COLOR: '1',
        LC_ALL: 'C.UTF-8',
        ...env,
      },
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    // Not `close`: a server that was left behind may have the pipes open.
    const [code] = (await once(child, 'exit')) as [number | null];
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { code, stdout, stderr };
  }

  /** As {@link try}, of a script that must succeed: gives standard output. */
  async run(namespace: Namespace, script: string, options: ScriptOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.try(namespace, script, options);
    if (code === 0) return stdout;
    throw new Error(`ended with ${String(code)}: ${script}\n${stdout}${stderr}`);
  }

  /** Ends all processes and mounts of a user that root made, and removes all files. */
  async end(): Promise<void> {
    if (this.#holder === undefined) await this.run('ranges', `rm -rf "$HOME"/* "$HOME"/.[a-z]*`);
    else if (this.#holder.exitCode === null) {
      const exited = once(this.#holder, 'exit');
      this.#holder.stdin?.end();
      await exited;
    }
    if (this.#holder !== undefined) {
      // Where podman keeps what it runs for users who never logged in.
      const { uid } = statSync(this.home);
      const left = ['/tmp/podman-run-', '/tmp/containers-user-', '/dev/shm/libpod_rootless_lock_'];
      for (const start of left) rmSync(`${start}${String(uid)}`, { recursive: true, force: true });
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
