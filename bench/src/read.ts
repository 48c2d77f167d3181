import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { openArea } from './area.js';
import { compare, type Figure } from './harness.js';
import { layerfsPeer, overlayPeer } from './mounts.js';
import { LAYERFS, run, timeScript } from './programs.js';

const LINUX = new URL('../../packages/linux/dist/index.js', import.meta.url).href;

const SEQUENTIAL = `
import { openSync, readSync } from 'node:fs';
const fd = openSync(process.argv[1]);
const buffer = Buffer.alloc(1 << 20);
const pass = () => { let at = 0; for (let n; (n = readSync(fd, buffer, 0, buffer.length, at)) > 0;) at += n; };
pass();
const started = performance.now();
for (let i = 0; i < 5; i++) pass();
console.log(performance.now() - started);`;

const RANDOM = `
import { openSync, fstatSync, readSync } from 'node:fs';
const fd = openSync(process.argv[1]);
const pages = fstatSync(fd).size / 4096;
const buffer = Buffer.alloc(4096);
let seed = 1;
const pass = (count) => { for (let i = 0; i < count; i++) { seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff; readSync(fd, buffer, 0, 4096, (seed % pages) * 4096); } };
pass(20000);
const started = performance.now();
pass(200000);
console.log(performance.now() - started);`;

const MAPPED = `
import { openSync, fstatSync } from 'node:fs';
import { mapFile } from '${LINUX}';
const fd = openSync(process.argv[1]);
const size = fstatSync(fd).size;
let sum = 0;
const pass = () => { const map = mapFile(fd, size); const bytes = new Uint8Array(map.buffer); for (let i = 0; i < size; i += 64) sum += bytes[i]; map.unmap(); };
pass();
const started = performance.now();
for (let i = 0; i < 5; i++) pass();
console.log(performance.now() - started + (sum < 0 ? 1 : 0));`;

/** Reads of one large cached file through the mount, against reading the object itself. */
export async function benchRead(quick: boolean): Promise<Figure[]> {
  const megabytes = quick ? 16 : 256;
  const area = openArea(quick ? 4 : 8);
  try {
    const source = area.make('source');
    mkdirSync(join(source, 'data'));
    const fd = openSync(join(source, 'data/file'), 'w');
    for (let i = 0; i < megabytes; i++) writeSync(fd, randomBytes(1 << 20));
    fsyncSync(fd);
    closeSync(fd);
    const store = area.make('store');
    run(LAYERFS, '--root', store, 'import', source, '--name', 'bench', '-q');
    const explained = JSON.parse(run(LAYERFS, '--root', store, 'explain', 'bench', '/data/file', '--json')) as {
      shown: { content: { file: string } };
    };
    const { file } = explained.shown.content;
    const overlay = process.geteuid?.() === 0 ? overlayPeer([dirname(file), area.make('empty')]) : undefined;
    const overlayMountpoint = area.make('overlay');
    const mountpoint = area.make('mnt');
    const peer = layerfsPeer(store, 'bench');
    const kernel = overlay === undefined ? undefined : layerfsPeer(store, 'bench', ['--mount-mode', 'kernel']);
    const kernelMountpoint = area.make('kernel');
    await overlay?.mount(overlayMountpoint);
    await kernel?.mount(kernelMountpoint);
    await peer.mount(mountpoint);
    try {
      const figures: Figure[] = [];
      for (const [name, script] of [
        ['cached sequential read', SEQUENTIAL],
        ['random 4 KiB reads', RANDOM],
        ['mmap read', MAPPED],
      ] as const) {
        figures.push(
          ...(await compare(
            `${name}, ${megabytes} MiB`,
            [
              { name: 'layerfs mount', run: () => timeScript(script, join(mountpoint, 'data/file')) },
              { name: 'the object itself', run: () => timeScript(script, file) },
              ...(kernel === undefined
                ? []
                : [{ name: kernel.name, run: () => timeScript(script, join(kernelMountpoint, 'data/file')) }]),
              ...(overlay === undefined
                ? []
                : [{ name: overlay.name, run: () => timeScript(script, join(overlayMountpoint, basename(file))) }]),
            ],
            quick ? 2 : 7,
          )),
        );
      }
      return figures;
    } finally {
      await peer.unmount(mountpoint);
      await kernel?.unmount(kernelMountpoint);
      await overlay?.unmount(overlayMountpoint);
    }
  } finally {
    area.release();
  }
}
