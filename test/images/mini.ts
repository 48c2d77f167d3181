/** A small root filesystem from what this machine has: a shell, some tools and their libraries. No network, no root. */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { run } from './oci.js';
import { file, folder, symlink, TIME, type Piece } from './odd-lower.js';

const TOOLS = ['ls', 'cat', 'head', 'wc', 'id', 'stat', 'sha256sum', 'find', 'true'];

/** /bin, /lib and so on are links into /usr, whatever this machine does. */
function intoUsr(path: string): string {
  return path.replace(/^\/(bin|sbin|lib|lib64|lib32)\//, '/usr/$1/').slice(1);
}

function which(name: string): string | undefined {
  return ['/usr/bin', '/bin'].map((folder) => `${folder}/${name}`).find((path) => existsSync(path));
}

/** The libraries and the loader that `ldd` names for a program. */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await run('ldd', [program]);
  return [...stdout.matchAll(/(\/[^ ]+) \(0x/g)].map((match) => match[1]);
}

/** The entries of the layer. @param more names of further programs */
export async function miniRoot(more: readonly string[] = []): Promise<Piece[]> {
  const shell = realpathSync('/bin/sh');
  const programs = [shell, ...[...TOOLS, ...more].map(which).filter((path) => path !== undefined)];
  const files = new Map<string, string>();
  for (const program of programs) {
    files.set(intoUsr(program), program);
    for (const library of await librariesOf(program)) files.set(intoUsr(library), library);
  }
  const folders = new Set<string>([
    'etc',
    'root',
    'tmp',
    'proc',
    'dev',
    'usr',
    'usr/bin',
    'usr/sbin',
    'usr/lib',
    'usr/lib64',
  ]);
  for (const path of files.keys()) {
    for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) folders.add(path.slice(0, at));
  }
  return [
    { name: './', mode: 0o755, mtime: TIME },
    ...[...folders].toSorted().map((path) => folder(path, path === 'tmp' ? { mode: 0o1777 } : {})),
    ...['bin', 'sbin', 'lib', 'lib64'].map((name) => symlink(name, `usr/${name}`)),
    ...[...files].map(([path, source]) => file(path, readFileSync(source), { mode: statSync(source).mode & 0o7777 })),
    symlink('usr/bin/sh', shell.split('/').at(-1)!),
    file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n'),
    file('etc/hostname', 'mini\n'),
    { name: 'dev/null', type: '3', major: 1, minor: 3, mode: 0o666, mtime: TIME },
  ];
}

/** What the upper layer does to this root, besides the odd entries. */
export function miniChanges(): Piece[] {
  return [file('etc/hostname', 'changed\n'), file('etc/.wh.passwd', '', { mode: 0 })];
}
