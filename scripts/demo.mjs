// `npm run demo`: makes a real image of three layers out of what this machine has, takes it into a store of its own, mounts
// it, looks at it, runs a program in it, and leaves nothing behind.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = dirname(dirname(fileURLToPath(import.meta.url)));
const layerfs = join(top, 'node_modules/.bin/layerfs');
const work = mkdtempSync(join(tmpdir(), 'layerfs-demo-'));
const store = join(work, 'store');
const mountpoint = join(work, 'root');
const bold = process.stdout.isTTY ? (text) => `\x1b[1m${text}\x1b[0m` : (text) => text;
let mounted = false;

function cleanUp() {
  if (mounted) spawnSync(layerfs, ['--root', store, 'unmount', '--lazy', mountpoint], { stdio: 'ignore' });
  mounted = false;
  // A checkout keeps folders that even their owner may not write to.
  spawnSync('chmod', ['-R', 'u+rwX', work], { stdio: 'ignore' });
  rmSync(work, { recursive: true, force: true });
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    cleanUp();
    process.exit(130);
  });
}

const say = (text) => console.log(`\n${bold(text)}`);

/** Runs layerfs as a user would type it, and shows what it prints. */
function run(...args) {
  console.log(`$ layerfs ${args.join(' ').replaceAll(work, '.')}`);
  const result = spawnSync(layerfs, args, { encoding: 'utf8', env: { ...process.env, LAYERFS_ROOT: store } });
  process.stdout.write(`${result.stdout}${result.stderr}`.replaceAll(work, '.'));
  if (result.status !== 0) throw new Error(`layerfs ${args[0]} ended with code ${result.status}`);
  return result.stdout;
}

function shell(program, ...args) {
  console.log(`$ ${[program, ...args].join(' ').replaceAll(work, '.')}`);
  const result = spawnSync(program, args, { encoding: 'utf8', timeout: 30_000 });
  process.stdout.write(`${result.stdout ?? ''}${result.stderr ?? ''}`.replaceAll(work, '.'));
  if (result.error !== undefined || result.status !== 0)
    throw new Error(`${program} failed: ${result.error?.message ?? result.status}`);
}

/** One tar entry in ustar format. */
function entry({ path, type = '0', mode = 0o644, content = Buffer.alloc(0), link = '' }) {
  const header = Buffer.alloc(512);
  if (Buffer.byteLength(path) > 100) throw new Error(`path too long for the demo: ${path}`);
  header.write(path, 0);
  const octal = (value, at, length) => header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(content.length, 124, 12);
  octal(1_700_000_000, 136, 12);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157);
  header.write('ustar\x0000', 257);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return Buffer.concat([header, content, Buffer.alloc(-content.length & 511)]);
}

const tar = (entries) => Buffer.concat([...entries.map(entry), Buffer.alloc(1024)]);

/** A program of this machine with everything its loader needs, as tar entries; undefined when it cannot be found out. */
function programEntries(program, target) {
  let libraries;
  try {
    libraries = execFileSync('ldd', [program], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch (error) {
    if (error.code === 'ENOENT' || error.status !== undefined) return undefined;
    throw error;
  }
  const files = new Set();
  for (const match of libraries.matchAll(/(?:=> )?(\/\S+) \(0x/g)) files.add(match[1]);
  const entries = [{ path: target, mode: 0o755, content: readFileSync(program) }];
  for (const file of files)
    entries.push({ path: file.slice(1), mode: 0o755, content: readFileSync(realpathSync(file)) });
  return entries;
}

/** The base layer's program: a shell where there is one, node itself elsewhere. */
function baseProgram() {
  for (const shellPath of ['/bin/dash', '/bin/bash', '/bin/sh']) {
    if (!existsSync(shellPath)) continue;
    const entries = programEntries(realpathSync(shellPath), 'bin/sh');
    if (entries !== undefined) return { entries, command: ['/bin/sh', '-c'] };
  }
  const entries = programEntries(realpathSync(process.execPath), 'bin/node') ?? [];
  return { entries, command: undefined };
}

/** Writes an OCI image layout. */
function writeLayout(folder, layers) {
  const blobs = join(folder, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType, bytes) => {
    const digest = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, digest), bytes);
    return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
  };
  const json = (mediaType, value) => put(mediaType, Buffer.from(JSON.stringify(value)));
  const oci = 'application/vnd.oci.image';
  const descriptors = layers.map(({ bytes }) => put(`${oci}.layer.v1.tar`, bytes));
  const config = json(`${oci}.config.v1+json`, {
    created: '2026-01-01T00:00:00Z',
    architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch] ?? process.arch,
    os: 'linux',
    config: { Cmd: ['/bin/sh'] },
    rootfs: { type: 'layers', diff_ids: descriptors.map((descriptor) => descriptor.digest) },
    history: layers.map(({ step }) => ({ created: '2026-01-01T00:00:00Z', created_by: step })),
  });
  const manifest = json(`${oci}.manifest.v1+json`, {
    schemaVersion: 2,
    mediaType: `${oci}.manifest.v1+json`,
    config,
    layers: descriptors,
  });
  writeFileSync(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  writeFileSync(
    join(folder, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
}

const text = (path, content) => ({ path, content: Buffer.from(content) });

try {
  say('1. An image of three layers, made of what this machine has');
  const program = baseProgram();
  const base = [
    { path: 'etc/', type: '5', mode: 0o755 },
    text('etc/motd', 'Welcome to the base layer.\n'),
    text('etc/secret', 'to be deleted by the second layer\n'),
    { path: 'var/cache/', type: '5', mode: 0o755 },
    text('var/cache/old', 'hidden by an opaque folder\n'),
    ...program.entries,
  ];
  const second = [
    text('etc/motd', 'Welcome! The second layer replaced this file.\n'),
    text('etc/.wh.secret', ''),
    { path: 'var/cache/', type: '5', mode: 0o755 },
    text('var/cache/.wh..wh..opq', ''),
    text('var/cache/new', 'only this is left here\n'),
  ];
  const third = [
    text('srv/hello', 'The third layer only adds.\n'),
    { path: 'srv/link', type: '2', link: '../etc/motd', mode: 0o777 },
  ];
  const layout = join(work, 'image');
  writeLayout(layout, [
    { bytes: tar(base), step: 'COPY a shell, its libraries and some files' },
    { bytes: tar(second), step: 'RUN change, delete, replace a folder' },
    { bytes: tar(third), step: 'COPY hello' },
  ]);
  console.log(`an OCI image layout with ${base.length + second.length + third.length} tar entries`);

  say('2. Into the store: every file content once, checked while it streams');
  run('import', layout, '--name', 'demo');
  run('images');
  run('history', 'demo');

  // Its code says whether images can be mounted here; it tells the reason in either case.
  const { stdout } = spawnSync(layerfs, ['doctor', '--json'], {
    encoding: 'utf8',
    env: { ...process.env, LAYERFS_ROOT: store },
  });
  const wall = JSON.parse(stdout).find((check) => check.ok === false);
  mkdirSync(mountpoint);
  if (wall === undefined) {
    say('3. Mounted: the merged root, served out of the store');
    run('mount', 'demo', mountpoint, '-v');
    mounted = true;
  } else {
    say('3. This machine cannot mount, so the merged root is checked out as plain files');
    console.log(`${wall.detail}${wall.hint === undefined ? '' : `\n${wall.hint}`}`);
    run('checkout', 'demo', mountpoint);
  }
  shell('ls', '-l', join(mountpoint, 'etc'), join(mountpoint, 'var/cache'), join(mountpoint, 'srv'));
  shell('cat', join(mountpoint, 'srv/link'));
  if (process.geteuid() === 0 && program.command !== undefined) {
    say('4. A program inside it');
    shell('chroot', mountpoint, ...program.command, 'echo "hello from $0, in a root with:"; echo /* /etc/*');
  }

  say(`${process.geteuid() === 0 && program.command !== undefined ? 5 : 4}. Which layer is it from?`);
  for (const path of ['/etc/motd', '/etc/secret', '/var/cache/old', '/srv/hello']) {
    if (mounted && existsSync(join(mountpoint, path))) run('explain', join(mountpoint, path));
    else run('explain', 'demo', path);
  }
  run('du');
  if (mounted) {
    run('unmount', mountpoint);
    mounted = false;
  }
  cleanUp();
  say('Go on with an image of your own');
  console.log(`  npx layerfs import IMAGE.tar --name mine      (docker save, podman save, skopeo copy, a rootfs tar, a folder)
  npx layerfs mount mine /mnt && ls /mnt
  npx layerfs explain /mnt/etc/passwd
  npx layerfs unmount /mnt
The store is ${process.geteuid() === 0 ? '/var/lib/layerfs' : '~/.local/share/layerfs'}, or where --root says. README.md tells the rest.`);
} catch (error) {
  cleanUp();
  console.error(`demo: ${error.message}`);
  process.exitCode = 1;
}
