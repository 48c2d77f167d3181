/** The npm packages that are installed on this machine (this workspace's own and those that npm brings), packed as a registry has them. */
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { delimiter, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { tarOf, type TarEntry } from '../images/tar.js';

const compress = promisify(gzip);

/** Larger ones, which are programs for one kind of machine, would make downloads of what should be many small files. */
const LARGEST = 13e6;

interface Manifest {
  name: string;
  version: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  scripts?: Record<string, string>;
  [more: string]: unknown;
}

export interface NpmPackage {
  /** What its package.json says, as far as a registry repeats it. */
  manifest: Manifest;
  tarball: Buffer;
  /** As in `dist`: `sha512-` and base64. */
  integrity: string;
}

/** What resolving and linking packages takes. */
const REPEATED = ['name', 'version', 'dependencies', 'optionalDependencies', 'bin', 'engines', 'os', 'cpu', 'libc'];

export const BUILT_NAME = 'layerfs-test-built';
/** A package that builds its program when it is installed. */
const BUILT: TarEntry[] = [
  {
    name: 'package/package.json',
    data: JSON.stringify({
      name: BUILT_NAME,
      version: '1.0.0',
      bin: 'built/main.js',
      scripts: { postinstall: 'node build.js' },
    }),
  },
  {
    name: 'package/build.js',
    data: `const fs = require('fs');
      fs.mkdirSync('built/parts', { recursive: true });
      for (let i = 0; i < 50; i++) fs.writeFileSync('built/parts/' + i + '.tmp', 'module.exports = ' + i);
      for (let i = 0; i < 50; i++) fs.renameSync('built/parts/' + i + '.tmp', 'built/parts/' + i + '.js');
      fs.rmSync('built/parts/49.js');
      fs.writeFileSync('built/main.js', '#!/usr/bin/env node\\nlet sum = 0; for (let i = 0; i < 49; i++) sum += require("./parts/" + i); console.log(sum);', { mode: 0o755 });`,
  },
  { name: 'package/built/main.js', data: '' },
];

/** npm's own folder, by the npm on the PATH. */
function npmFolder(): string {
  const found = (process.env['PATH'] ?? '').split(delimiter).find((folder) => existsSync(join(folder, 'npm')));
  if (found === undefined) throw new Error('npm is not on the PATH');
  // …/npm/bin/npm-cli.js
  return join(realpathSync(join(found, 'npm')), '../..');
}

/** This workspace: the file runs from test/npm and from test/dist/npm. */
function virtualStore(): string {
  const top = fileURLToPath(import.meta.url).split(`${sep}test${sep}`)[0];
  return join(top, 'node_modules/.pnpm');
}

/** The packages in a node_modules folder; links lead to packages that are elsewhere. */
function packagesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .flatMap((entry) =>
      entry.name.startsWith('@')
        ? packagesIn(join(folder, entry.name))
        : existsSync(join(folder, entry.name, 'package.json'))
          ? [join(folder, entry.name), ...packagesIn(join(folder, entry.name, 'node_modules'))]
          : [],
    );
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

function filesOf(folder: string, prefix: string): TarEntry[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name): TarEntry[] => {
      const path = join(folder, name);
      const stats = lstatSync(path);
      const inside = `${prefix}/${Buffer.from(name).toString('latin1')}`;
      if (stats.isDirectory()) return name === 'node_modules' ? [] : filesOf(path, inside);
      if (!stats.isFile()) return [];
      return [{ name: inside, mode: stats.mode & 0o111 ? 0o755 : 0o644, data: readFileSync(path) }];
    });
}

function sizeOf(entries: TarEntry[]): number {
  return entries.reduce((sum, entry) => sum + (entry.data?.length ?? 0), 0);
}

async function pack(manifest: Manifest, entries: TarEntry[]): Promise<NpmPackage> {
  const tarball = await compress(tarOf(...entries), { level: 1 });
  const repeated = Object.fromEntries(REPEATED.filter((key) => key in manifest).map((key) => [key, manifest[key]]));
  const { name, version } = manifest;
  return {
    manifest: { ...repeated, name, version, ...(hasInstallScript(manifest) && { hasInstallScript: true }) },
    tarball,
    integrity: `sha512-${createHash('sha512').update(tarball).digest('base64')}`,
  };
}

function hasInstallScript({ scripts = {} }: Manifest): boolean {
  return ['preinstall', 'install', 'postinstall'].some((name) => name in scripts);
}

/**
 * Every package with all that it depends on, in the order of their names. Left out are those that run scripts when they are installed, which
 * may want the network, but for one of our own.
 */
export async function installedPackages(): Promise<NpmPackage[]> {
  const stores = readdirSync(virtualStore()).map((name) => join(virtualStore(), name, 'node_modules'));
  const folders = [...stores, join(npmFolder(), 'node_modules')].flatMap(packagesIn);
  const found = new Map<string, { manifest: Manifest; entries: TarEntry[] }>();
  for (const folder of folders) {
    const manifest = manifestOf(folder);
    const key = `${manifest.name}@${manifest.version}`;
    if (found.has(key) || hasInstallScript(manifest) || 'bundleDependencies' in manifest) continue;
    const entries = filesOf(folder, 'package');
    if (sizeOf(entries) <= LARGEST) found.set(key, { manifest, entries });
  }
  const built = JSON.parse(String(BUILT[0].data)) as Manifest;
  found.set(built.name, { manifest: built, entries: BUILT });
  leaveComplete(found);
  const sorted = [...found].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Promise.all(sorted.map(([, { manifest, entries }]) => pack(manifest, entries)));
}

/** Takes away what depends on something that is not there, and then what depends on that; where it need not be there, it is not named. */
function leaveComplete(found: Map<string, { manifest: Manifest }>): void {
  let names = new Set<string>();
  for (let before = -1; before !== found.size;) {
    before = found.size;
    names = new Set([...found.values()].map(({ manifest }) => manifest.name));
    for (const [key, { manifest }] of found) {
      const { dependencies = {}, optionalDependencies = {} } = manifest;
      const needed = Object.keys(dependencies).filter((name) => !(name in optionalDependencies));
      if (needed.some((name) => !names.has(name))) found.delete(key);
    }
  }
  for (const { manifest } of found.values()) {
    for (const kind of ['dependencies', 'optionalDependencies'] as const) {
      if (manifest[kind] === undefined) continue;
      manifest[kind] = Object.fromEntries(Object.entries(manifest[kind]).filter(([name]) => names.has(name)));
    }
  }
}
