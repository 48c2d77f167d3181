/** An empty project elsewhere, with the packages of this workspace installed from their tarballs, as a user would have them. */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../images/oci.js';

/** This workspace: the file runs from test/packaging and from test/dist/packaging. */
export const TOP = fileURLToPath(import.meta.url).split(`${sep}test${sep}`)[0];

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports?: Readonly<Record<string, { readonly types: string; readonly default: string }>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export interface Packed {
  readonly manifest: Manifest;
  readonly tarball: string;
  /** Paths inside, below `package/`. */
  readonly files: readonly string[];
}

// A cache of npm's own would be downloaded anew by each run; settings such as the registry's address are the user's.
const NPM = ['--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];

/** Runs npm in a folder and gives its standard output. */
export async function npm(cwd: string, ...args: string[]): Promise<string> {
  const { LAYERFS_TEST_CA_CERTS: certificates } = process.env;
  const env = certificates === undefined ? process.env : { ...process.env, NODE_EXTRA_CA_CERTS: certificates };
  const { stdout } = await run('npm', [...args, ...NPM], { cwd, env, maxBuffer: 2 ** 26 });
  return stdout;
}

/** Why npm's registry cannot be asked; undefined when it can. */
export async function registryMissing(folder: string): Promise<string | undefined> {
  try {
    await npm(folder, 'view', 'koffi', 'version', '--fetch-retries=0', '--fetch-timeout=20000');
    return undefined;
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
    const code = /code (\w+)/.exec(said)?.[1] ?? said.slice(0, 200);
    return `needs npm's registry, which cannot be asked (${code})`;
  }
}

/** `npm pack` of every package of the workspace. */
export async function packAll(folder: string): Promise<Packed[]> {
  mkdirSync(folder, { recursive: true });
  const packed: Packed[] = [];
  for (const name of readdirSync(join(TOP, 'packages')).sort()) {
    const source = join(TOP, 'packages', name);
    const [made] = JSON.parse(await npm(source, 'pack', '--json', '--pack-destination', folder)) as {
      filename: string;
      files: { path: string }[];
    }[];
    const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as Manifest;
    packed.push({ manifest, tarball: join(folder, made.filename), files: made.files.map(({ path }) => path) });
  }
  return packed;
}

/** Makes a project that depends on the tarballs and on what a TypeScript project needs beside them. */
export async function installProject(folder: string, packed: readonly Packed[]): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const { devDependencies } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>;
  };
  const dependencies = Object.fromEntries(packed.map(({ manifest, tarball }) => [manifest.name, `file:${tarball}`]));
  const project = {
    name: 'empty',
    private: true,
    type: 'module',
    dependencies,
    devDependencies: { '@types/node': devDependencies['@types/node'] },
  };
  writeFileSync(join(folder, 'package.json'), JSON.stringify(project));
  // No package of ours needs an install script, its own or a dependency's.
  await npm(folder, 'install', '--prefer-offline', '--ignore-scripts');
}

/** Every public entry point, as one writes it behind `from`. */
export function entryPoints(packed: readonly Packed[]): string[] {
  return packed.flatMap(({ manifest }) =>
    Object.keys(manifest.exports ?? {}).map((path) => manifest.name + path.slice(1)),
  );
}

/** Whether a folder or one above it has an entry of this name. */
export function hasAbove(folder: string, name: string): boolean {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, name))) return true;
    if (at === dirname(at)) return false;
  }
}
