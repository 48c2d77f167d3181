/** A real Debian: mmdebstrap's minimal root filesystem, then packages installed into it with apt, taken as a layer by umoci. */
import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { cached } from './cache.js';
import { run } from './oci.js';
import { file, folder, symlink, type Piece } from './odd-lower.js';

/** Why an image cannot be built here; the message is what a skipped test prints. */
export class ImageUnavailable extends Error {
  override name = 'ImageUnavailable';
}

/** Says which Debian package is missing for a program that the build calls. */
export function needProgram(program: string, debianPackage = program): void {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  if (!folders.some((folder) => existsSync(join(folder, program)))) {
    throw new ImageUnavailable(`${program} is not installed (apt install ${debianPackage})`);
  }
}

async function runLogged(command: string, args: string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString('utf8')).slice(-4000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code === 0) return;
  const last = output.trim().split('\n').slice(-6).join('\n');
  const offline =
    /^.*(Could not resolve|Temporary failure|Unable to connect|Could not connect|Failed to fetch|timed out).*$/im.exec(
      output,
    );
  if (offline !== null) throw new ImageUnavailable(`Debian's mirror cannot be reached: ${offline[0].trim()}`);
  throw new Error(`${command} ended with ${code}:\n${last}`);
}

function needRoot(): void {
  if (process.getuid?.() !== 0) throw new ImageUnavailable('building the debian image needs root');
}

let unreachable: ImageUnavailable | undefined;

/** Layer 1, as `bootstrap` makes it; once the mirror was out of reach, this process does not try again. */
export async function debianBase(say: (text: string) => void): Promise<string> {
  if (unreachable !== undefined) throw unreachable;
  try {
    return await bootstrap(say);
  } catch (error) {
    if (error instanceof ImageUnavailable) unreachable = error;
    throw error;
  }
}

/** The mirror is the one of this machine's apt. */
function bootstrap(say: (text: string) => void): Promise<string> {
  return cached('debian/layers/1.tar', async (path) => {
    needRoot();
    needProgram('mmdebstrap');
    say('debian: mmdebstrap --variant=minbase (about 20 s)');
    await runLogged('mmdebstrap', ['--variant=minbase', '--format=tar', 'bookworm', path]);
  });
}

/** Runs a script as root of `folder`, with the network's names; in a mount namespace of its own, so that nothing stays mounted however it ends. */
async function inChroot(folder: string, script: string): Promise<void> {
  const enter = `
    mount -t proc proc "$1/proc"
    if test -e "$1/etc/resolv.conf"; then mount --bind /etc/resolv.conf "$1/etc/resolv.conf"; fi
    exec env -u TMPDIR chroot "$1" /bin/sh -ec "$2"`;
  const args = ['--mount', '--propagation', 'slave', 'sh', '-ec', enter, 'enter', folder, script];
  await runLogged('unshare', args);
}

const INSTALL = `
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -qy --no-install-recommends python3-minimal libcap2-bin iputils-ping
  rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log`;

/** Layer 2: the difference after installing python3-minimal and iputils-ping (its ping has a file capability). */
export function debianPackages(base: string, say: (text: string) => void): Promise<string> {
  return cached('debian/layers/2.tar', async (path) => {
    needRoot();
    needProgram('umoci');
    say('debian: apt-get install python3-minimal iputils-ping (about 15 s)');
    const work = await mkdtemp(join(tmpdir(), 'layerfs-debian-'));
    try {
      const [layout, bundle] = [join(work, 'image'), join(work, 'bundle')];
      await run('umoci', ['init', '--layout', layout]);
      await run('umoci', ['new', '--image', `${layout}:a`]);
      await run('umoci', ['raw', 'add-layer', '--image', `${layout}:a`, base]);
      await run('umoci', ['unpack', '--image', `${layout}:a`, bundle]);
      await inChroot(join(bundle, 'rootfs'), INSTALL);
      await run('umoci', ['repack', '--image', `${layout}:b`, bundle]);
      const { stdout } = await run('umoci', ['stat', '--image', `${layout}:b`, '--json']);
      const { history } = JSON.parse(stdout) as { history: { layer: { digest: string } | null }[] };
      const digest = history.findLast((line) => line.layer !== null)!.layer!.digest;
      const blob = join(layout, 'blobs', digest.replace(':', '/'));
      await pipeline(createReadStream(blob), createGunzip(), createWriteStream(path));
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
}

/** Packages that the image lacks: they bring maintainer scripts, triggers, a group, a set-group-ID program and a shared library. */
export const NEW_PACKAGES = ['ca-certificates', 'cron', 'logrotate'];
/** The image's last layer deletes what maintainer scripts need most. */
export const BROKEN_PACKAGE = 'perl-base';

// Sizes and digests are what apt wants to know beside what each package says of itself.
const DOWNLOAD = `
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -qy --no-install-recommends --download-only --reinstall ${[BROKEN_PACKAGE, ...NEW_PACKAGES].join(' ')}
  cd /var/cache/apt/archives
  for deb in *.deb; do
    dpkg-deb -f "$deb"
    echo "Filename: ./$deb"
    echo "Size: $(stat -c %s "$deb")"
    echo "SHA256: $(sha256sum "$deb" | cut -d ' ' -f 1)"
    echo
  done > Packages`;

/** A flat apt repository (`deb [trusted=yes] copy:FOLDER ./`) of these packages and of what they need in the image. */
export async function debianRepository(say: (text: string) => void = () => {}): Promise<string> {
  const base = await debianBase(say);
  const packages = await debianPackages(base, say);
  return cached('debian/repository', async (path) => {
    needRoot();
    say(`debian: apt-get download of ${NEW_PACKAGES.join(', ')} (about 10 s)`);
    const work = await mkdtemp(join(tmpdir(), 'layerfs-debian-'));
    try {
      for (const tar of [base, packages]) await run('tar', ['-x', '-p', '--numeric-owner', '-C', work, '-f', tar]);
      await inChroot(work, DOWNLOAD);
      await run('sh', [
        '-ec',
        'mkdir "$2"; cd "$1/var/cache/apt/archives"; cp *.deb Packages "$2"; chmod -R a+rX "$2"',
        'copy',
        work,
        path,
      ]);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
}

/** What the upper layer does to Debian's own files, besides the odd entries. */
export function debianChanges(): Piece[] {
  return [
    file('usr/share/.wh.doc', '', { mode: 0 }),
    folder('usr/share/man'),
    file('usr/share/man/.wh..wh..opq', '', { mode: 0 }),
    file('usr/share/man/README', 'manuals are left out\n'),
    file('etc/motd', 'changed by the upper layer\n'),
    file('usr/share/.wh.common-licenses', '', { mode: 0 }),
    symlink('usr/share/common-licenses', '/nowhere'),
    file('media', 'a folder became a file'),
    file('usr/bin/.wh.perl', '', { mode: 0 }),
  ];
}
