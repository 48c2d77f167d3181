// Puts what the commands run into few files, packages/cli/bundle: Node takes about a millisecond to find, read and link a
// module, and `layerfs import` is made of 300. Libraries are published as they are.
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const top = dirname(dirname(fileURLToPath(import.meta.url)));
const packages = join(top, 'packages');
const out = join(packages, 'cli/bundle');

/** What has binaries or files of its own, or is for the service only, stays a package. */
const EXTERNAL = [
  /^node:/,
  'koffi',
  '@photostructure/sqlite',
  'lmdb',
  'fuse-native',
  /^@grpc\//,
  'grpc-health-check',
  'pino',
  'prom-client',
  're2js',
];

/** Of the command, which loads what each of its words needs: what all load first, and what most load then. */
const GROUPS = [
  {
    name: 'start',
    priority: 1,
    test: /\/commander\/|\/cli\/dist\/(errors|output|program\/[a-z]+|format|context)\.js|\/layerfs\/dist\/core\/(error|bytes)\.js/,
  },
  { name: 'common', minShareCount: 30 },
];

/** Programs and threads: file by name. Those that others start are found by {@link programs}. */
const entries = new Map([
  ['layerfs', join(packages, 'cli/dist/main.js')],
  ['fuse-layerfs', join(packages, 'cli/dist/fuse-layerfs/main.js')],
]);

/** Rewrites `new URL('FILE', import.meta.url)`: a program is bundled, too; of a folder there is a copy in the bundle. */
const programs = {
  name: 'programs',
  transform(code, id) {
    if (!code.includes('import.meta.url')) return undefined;
    return code.replaceAll(/new URL\('([^']+)', import\.meta\.url\)/g, (_, path) => {
      const file = resolve(dirname(id), path);
      let name = relative(out, file);
      if (path.endsWith('.js')) {
        name = relative(packages, file).replace('/dist/', '-').replaceAll('/', '-');
        entries.set(basename(name, '.js'), file);
      } else if (path.endsWith('/')) {
        cpSync(file, join(out, basename(file)), { recursive: true });
        name = `${basename(file)}/`;
      }
      return `new URL('./${name}', import.meta.url)`;
    });
  },
};

/** The files of an entry: several where it loads some of them later. */
async function bundled(name, file) {
  const bundle = await rolldown({
    input: { [name]: file },
    platform: 'node',
    external: EXTERNAL,
    plugins: [programs],
    // Only programs do something when they are loaded.
    treeshake: { moduleSideEffects: (id) => [...entries.values()].includes(id) },
    checks: { ineffectiveDynamicImport: false },
  });
  const { output } = await bundle.generate({
    format: 'esm',
    comments: false,
    entryFileNames: '[name].js',
    chunkFileNames: `${name}-[name].js`,
    codeSplitting: name === 'layerfs' ? { groups: GROUPS } : false,
  });
  await bundle.close();
  return output;
}

/** The licences of the packages in the bundle. */
function licences(modules) {
  const folders = new Set(modules.map((id) => /^.*\/node_modules\/(@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? ''));
  const texts = [];
  folders.delete('');
  for (const folder of [...folders].sort((a, b) => (a < b ? -1 : 1))) {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    const text = file === undefined ? license : readFileSync(join(folder, file), 'utf8');
    texts.push(`${name} ${version}\n\n${text.trim()}\n`);
  }
  return texts.join('\n---\n\n');
}

/** What decides what comes out: this file, the packages that are installed, and when each of ours was built. */
function inputs() {
  const hash = createHash('sha256');
  for (const file of [fileURLToPath(import.meta.url), join(top, 'pnpm-lock.yaml')]) hash.update(readFileSync(file));
  for (const name of readdirSync(packages).sort()) {
    hash.update(`${name} ${statSync(join(packages, name, 'dist/tsconfig.tsbuildinfo')).mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** A command that runs meanwhile finds the old or the new file, whole. */
function replace(name, text) {
  const path = join(out, name);
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

async function bundleAll() {
  mkdirSync(out, { recursive: true });
  const files = new Map();
  const modules = [];
  for (const [name, file] of entries) {
    for (const { fileName, code, moduleIds } of await bundled(name, file)) {
      files.set(fileName, code);
      modules.push(...moduleIds);
    }
  }
  files.set('LICENSES', licences(modules));
  for (const [name, text] of files) replace(name, text);
  for (const each of readdirSync(out, { withFileTypes: true })) {
    if (each.isFile() && !files.has(each.name)) rmSync(join(out, each.name));
  }
}

const stamp = join(top, 'node_modules/.cache/layerfs-bundle');
const wanted = inputs();
if (!existsSync(join(out, 'layerfs.js')) || !existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
  await bundleAll();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, wanted);
}
