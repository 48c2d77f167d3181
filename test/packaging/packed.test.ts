/** What `npm pack` makes: complete, without what only this workspace needs, and working in an empty project. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { run } from '../images/oci.js';
import { tarOf } from '../images/tar.js';
import { need } from '../support/needs.js';
import { scratchFolder } from '../support/scratch.js';
import { entryPoints, hasAbove, installProject, packAll, registryMissing, TOP, type Packed } from './project.js';

/** What a line of a bundle imports: a name without the prefix `node:`. */
const IMPORTED = /(?:^import .*?|^export .* from |\bimport\(|\brequire\(|^import )["'](?:node:)?([^"']+)["']/gm;

const folder = scratchFolder('layerfs-packed-');
const project = join(folder, 'project');
let packed: Packed[];
beforeAll(async () => {
  packed = await packAll(join(folder, 'tarballs'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a tarball', () => {
  test('has what runs and what types it, a licence and a README, and nothing else', () => {
    const allowed =
      /^(dist\/.*(\.js|\.d\.ts)|bin\/[\w-]+\.js|bundle\/([\w-]+\.js|LICENSES)|(bundle\/)?proto\/\w+\.proto|package\.json|LICENSE|README\.md|man\/[\w-]+\.\d|completions\/[\w.-]+)$/;
    for (const { manifest, files } of packed) {
      expect(files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json']));
      expect(files.filter((file) => !allowed.test(file) || /\.test(-support)?\./.test(file))).toEqual([]);
      for (const { types, default: code } of Object.values(manifest.exports ?? {})) {
        expect(files).toEqual(expect.arrayContaining([types.slice(2), code.slice(2)]));
      }
    }
  });

  test('names its dependencies by version, and those of this workspace as they are now', () => {
    const versions = new Map(packed.map(({ manifest }) => [manifest.name, manifest.version]));
    for (const { manifest } of packed) {
      for (const [name, version] of Object.entries(manifest.dependencies ?? {})) {
        expect(`${name} ${version}`).toMatch(/ \d+\.\d+\.\d+$/);
        if (versions.has(name)) expect(version).toBe(versions.get(name));
      }
    }
  });

  test('has a bundle of commands that needs no package but those it names', () => {
    const cli = packed.find(({ manifest }) => manifest.name === '@layerfs/cli') as Packed;
    const named = Object.keys({ ...cli.manifest.dependencies, ...cli.manifest.optionalDependencies });
    const files = cli.files.filter((file) => file.startsWith('bundle/') && file.endsWith('.js'));
    const needed = files.flatMap((file) =>
      [...readFileSync(join(TOP, 'packages/cli', file), 'utf8').matchAll(IMPORTED)].map(([, name]) => name),
    );
    const others = new Set(needed.filter((name) => !name.startsWith('.') && !builtinModules.includes(name)));
    expect([...others].toSorted((a, b) => (a < b ? -1 : 1))).toEqual(named.toSorted((a, b) => (a < b ? -1 : 1)));
  });

  test("has this workspace's licence", () => {
    const licence = readFileSync(join(TOP, 'LICENSE'), 'utf8');
    for (const name of ['linux', 'fuse', 'layerfs', 'snapshotter', 'cli']) {
      expect(readFileSync(join(TOP, 'packages', name, 'LICENSE'), 'utf8')).toBe(licence);
    }
  });
});

describe('in an empty project', () => {
  let reason: string | undefined;
  beforeAll(async () => {
    reason = await registryMissing(folder);
    if (reason === undefined) await installProject(project, packed);
  });
  const needProject = (context: TestContext): void => {
    if (reason === undefined) return;
    console.warn(`skipped: ${context.task.name}: ${reason}`);
    context.skip(reason);
  };
  const node = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
    run(process.execPath, args, { cwd: project, env: { ...process.env, HOME: folder, NODE_PATH: '' } });

  test('every entry point can be imported', async (context) => {
    needProject(context);
    expect(hasAbove(folder, 'node_modules')).toBe(false);
    const all = entryPoints(packed);
    expect(all).toEqual(expect.arrayContaining(['layerfs', 'layerfs/registry', '@layerfs/fuse', '@layerfs/linux/at']));
    const script = `for (const name of ${JSON.stringify(all)}) console.log(name, Object.keys(await import(name)).length);`;
    const { stdout } = await node('--input-type=module', '-e', script);
    const lines = stdout.trim().split('\n');
    expect(lines.map((line) => line.split(' ')[0])).toEqual(all);
    expect(lines.filter((line) => line.endsWith(' 0'))).toEqual([]);
  });

  test('strict TypeScript takes the types of every entry point, and knows them', async (context) => {
    needProject(context);
    const imports = entryPoints(packed).map((name, i) => `import * as m${i} from '${name}';`);
    const uses = imports.map((_, i) => `m${i}`).join(', ');
    const program = `${imports.join('\n')}
      export const all = [${uses}];
      import { LayerfsError, mount, openStore, type Store } from 'layerfs';
      const store: Store = await openStore({ root: 'store' });
      const names: (string | undefined)[] = store.images().map((image) => image.name);
      const mounted = await mount(store, names[0] ?? 'app', '/mnt');
      await mounted.unmount();
      await store.close();
      // @ts-expect-error a root is a path: were the types any, this would be no error
      await openStore({ root: 5 });
      // @ts-expect-error neither is there such a code
      export const never = (error: LayerfsError): boolean => error.code === 'no-such-code';`;
    writeFileSync(join(project, 'program.ts'), program);
    const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2023', '--types', 'node'];
    const compiler = join(TOP, 'node_modules/typescript/bin/tsc');
    const compiled = await node(compiler, ...options, 'program.ts').catch(
      (error: unknown) => error as { stdout: string },
    );
    expect(compiled.stdout).toBe('');
  });

  test('npx layerfs says its help and its version', async (context) => {
    needProject(context);
    const environment = { cwd: project, env: { ...process.env, HOME: folder } };
    const { stdout } = await run('npx', ['--no-install', 'layerfs', '--help'], environment);
    expect(stdout).toContain('import [options] <path>');
    const { stdout: version } = await run('npx', ['--no-install', 'layerfs', '--version'], environment);
    expect(version).toContain(
      `layerfs ${packed.find(({ manifest }) => manifest.name === 'layerfs')!.manifest.version}`,
    );
    const { stdout: union } = await run('npx', ['--no-install', 'fuse-layerfs', '-V'], environment);
    expect(union).toContain('layerfs');
  });

  test('the command imports an image and mounts it', async (context) => {
    needProject(context);
    need(context, 'fuse');
    const archive = join(folder, 'root.tar');
    writeFileSync(archive, tarOf({ name: 'etc/' }, { name: 'etc/motd', data: 'from a tarball\n' }));
    // Not below a folder that others may not pass: fusermount3 looks as the user.
    const mountpoint = join(scratchFolder('layerfs-packed-mount-', true), 'mnt');
    mkdirSync(mountpoint);
    const layerfs = (...args: string[]): Promise<{ stdout: string }> =>
      node('node_modules/.bin/layerfs', '--root', join(folder, 'store'), ...args);
    try {
      await layerfs('import', archive, '--name', 'app');
      await layerfs('mount', 'app', mountpoint);
      try {
        expect(readFileSync(join(mountpoint, 'etc/motd'), 'utf8')).toBe('from a tarball\n');
      } finally {
        await layerfs('unmount', mountpoint);
      }
    } finally {
      rmSync(join(mountpoint, '..'), { recursive: true });
    }
  });
});
