/** Upgrades of packages of a Debian root, as this machine's apt offers them. */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TOP, has, run } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';

const CACHE = join(TOP, 'node_modules/.cache/layerfs-bench/packages');
const ARCHIVES = ['-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=20'];

/** A package in another version than the root has. */
interface Package {
  readonly name: string;
  readonly version: string;
}

/** One step: the packages of one source package, which come together. */
export interface Upgrade {
  readonly source: string;
  readonly packages: readonly Package[];
}

/** Why there are none; the message is for people. */
export class NoUpgrades extends Error {
  override name = 'NoUpgrades';
}

/** All steps there are: each of a root's source packages to each other version that apt knows. @throws NoUpgrades */
export function upgradesOf(root: string): Upgrade[] {
  if (!has('apt-cache') || !has('dpkg-query')) throw new NoUpgrades('apt and dpkg are missing: this is no Debian');
  const format = '${Package} ${Version} ${source:Package}\\n';
  const lines = run('dpkg-query', `--admindir=${join(root, 'var/lib/dpkg')}`, '-W', '-f', format)
    .trim()
    .split('\n');
  const installed = lines.map((line) => line.split(' '));
  const offered = versionsOf(installed.map(([name]) => name));
  const sources = new Map<string, Package[][]>();
  for (const [name, version, source] of installed) {
    const others = (offered.get(name) ?? []).filter((other) => other !== version);
    const steps = sources.get(source) ?? [];
    for (const [i, other] of others.entries()) (steps[i] ??= []).push({ name, version: other });
    if (steps.length > 0) sources.set(source, steps);
  }
  const upgrades = [...sources].toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (upgrades.length === 0) throw new NoUpgrades('apt knows one version of each package only: apt-get update');
  return upgrades.flatMap(([source, steps]) => steps.map((packages) => ({ source, packages })));
}

function versionsOf(names: readonly string[]): Map<string, string[]> {
  const versions = new Map<string, string[]>();
  for (const line of run('apt-cache', 'madison', ...names).split('\n')) {
    const [name, version, origin] = line.split('|').map((word) => word.trim());
    if (origin === undefined || !origin.endsWith('Packages')) continue;
    const known = versions.get(name) ?? [];
    if (!known.includes(version)) versions.set(name, [...known, version]);
  }
  return versions;
}

/** Fetches what is not in the cache. @throws NoUpgrades when apt's archive cannot be reached */
export function downloadUpgrades(upgrades: readonly Upgrade[]): void {
  mkdirSync(CACHE, { recursive: true });
  const wanted = upgrades.flatMap(({ packages }) => packages).filter((each) => archiveOf(each) === undefined);
  if (wanted.length === 0) return;
  console.log(`apt-get download of ${wanted.length} packages`);
  const folder = mkdtempSync(join(CACHE, 'new-'));
  const release = onRelease(() => rmSync(folder, { recursive: true, force: true }));
  try {
    const names = wanted.map(({ name, version }) => `${name}=${version}`);
    run('sh', '-c', 'cd "$1" && shift && apt-get -qq "$@"', 'sh', folder, ...ARCHIVES, 'download', ...names);
    for (const name of readdirSync(folder)) renameSync(join(folder, name), join(CACHE, name));
  } catch (error) {
    throw new NoUpgrades(`apt's archive cannot be reached: ${(error as Error).message.trim().split('\n').at(-1)}`);
  } finally {
    release();
  }
}

function archiveOf({ name, version }: Package): string | undefined {
  const begin = `${name}_${version.replaceAll(':', '%3a')}_`;
  const found = readdirSync(CACHE).find((file) => file.startsWith(begin) && file.endsWith('.deb'));
  return found === undefined ? undefined : join(CACHE, found);
}

/** Puts the files of an upgrade into a root, and its versions into dpkg's list. */
export function applyUpgrade(root: string, { packages }: Upgrade): void {
  for (const each of packages) {
    const archive = archiveOf(each);
    if (archive === undefined) throw new Error(`${each.name} ${each.version} was not downloaded`);
    // In the root itself, so that no link in it leads outside.
    run('sh', '-c', 'dpkg-deb --fsys-tarfile "$1" | chroot "$2" tar -x --keep-directory-symlink', 'sh', archive, root);
  }
  const status = join(root, 'var/lib/dpkg/status');
  const versions = new Map(packages.map(({ name, version }) => [name, version]));
  const stanzas = readFileSync(status, 'utf8').split('\n\n');
  writeFileSync(status, stanzas.map((stanza) => withVersion(stanza, versions)).join('\n\n'));
}

function withVersion(stanza: string, versions: ReadonlyMap<string, string>): string {
  const version = versions.get(/^Package: (.*)$/m.exec(stanza)?.[1] ?? '');
  return version === undefined ? stanza : stanza.replace(/^Version: .*$/m, `Version: ${version}`);
}
