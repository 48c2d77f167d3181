import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inArea, type Benchmark, type Subject } from '../harness/bench.js';
import { LAYERFS, run, timeScript } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';
import { mountPeers } from '../peers/peers.js';
import type { Stack } from '../peers/peer.js';

const LINUX = new URL('../../../packages/linux/dist/index.js', import.meta.url).href;

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

/** Reads of one large cached file through each mount, against reading the object itself. */
export const reading: Benchmark = {
  name: 'read',
  about: 'one large cached file: sequential, at random, mapped; the limit is the object itself',
  needsRoot: false,
  run: (bench) =>
    inArea(bench, bench.quick ? 4 : 8, async (area) => {
      const megabytes = bench.quick ? 16 : 256;
      const { stack, file } = largeFile(area.make('data'), megabytes);
      const releases: (() => void)[] = [];
      const subjects: { name: string; kind: Subject['kind']; file: string }[] = [
        { name: 'the object itself', kind: 'limit', file },
      ];
      try {
        for (const peer of mountPeers(bench, stack)) {
          const mountpoint = area.make('mnt');
          peer.mount(stack, mountpoint);
          releases.push(onRelease(() => peer.unmount(stack, mountpoint)));
          // Peers have the object's folder as their lower: the very same file.
          const path = peer.kind === 'ours' ? 'data/file' : file.slice(stack.lowers[0].length + 1);
          subjects.push({ name: peer.name, kind: peer.kind, file: join(mountpoint, path) });
        }
        for (const [name, script] of [
          ['5 sequential reads of all of it', SEQUENTIAL],
          ['200,000 random reads of 4 KiB', RANDOM],
          ['5 times mapped, every line looked at', MAPPED],
        ] as const) {
          await bench.compare(
            `${name}, ${megabytes} MiB, cached`,
            subjects.map(({ file, ...who }) => ({ ...who, run: () => timeScript(script, file) })),
            { rounds: bench.rounds(5) },
          );
        }
      } finally {
        for (const release of releases.toReversed()) release();
      }
    }),
};

/** A store with an image of one large file, and the file that is its object. */
function largeFile(folder: string, megabytes: number): { stack: Stack; file: string } {
  const [source, store, empty] = ['source', 'store', 'empty'].map((name) => join(folder, name));
  mkdirSync(empty);
  mkdirSync(join(source, 'data'), { recursive: true });
  const fd = openSync(join(source, 'data/file'), 'w');
  for (let i = 0; i < megabytes; i++) writeSync(fd, randomBytes(1 << 20));
  fsyncSync(fd);
  closeSync(fd);
  run(LAYERFS, '--root', store, 'import', source, '--name', 'bench', '-q');
  const explained = JSON.parse(run(LAYERFS, '--root', store, 'explain', 'bench', '/data/file', '--json')) as {
    shown: { content: { file: string } };
  };
  const { file } = explained.shown.content;
  return { stack: { store, image: 'bench', lowers: [dirname(file), empty] }, file };
}
