import { join } from 'node:path';
import { makeSynthetic, type Shape, type Synthetic } from '../data/synthetic.js';
import type { Area } from '../harness/area.js';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { measureCurve, type Measure, type Point } from './curve.js';
import { parallelReads, readFile, uncachedStats, walk } from './measures.js';
import { measureMounts } from './mounts.js';

const STATS = 2000;
const FILES = 100;

/** How cost grows, each axis by itself: together they are asked for as `curves`. */
export const curves: readonly Benchmark[] = [
  axis('entries', 'how walks and stats grow with the number of entries', entries),
  axis('layers', 'how walks and stats grow with the number of layers', layers),
  axis('folder', 'how walks and stats grow with the size of one folder', folderSize),
  axis('file', 'how reads grow with the size of a file', fileSize),
  axis('readers', 'how reads grow with readers at once', readers),
  axis('mounts', 'how time, memory and idle processor time grow with the number of mounts', mounts),
];

/** On a filesystem of its own, which is soon gone. */
function axis(name: string, about: string, measure: (bench: Bench, area: Area) => Promise<void>): Benchmark {
  return {
    name: `curves-${name}`,
    about,
    needsRoot: true,
    run: (bench) => inArea(bench, bench.quick ? 4 : 40, (area) => measure(bench, area)),
  };
}

function made(area: Area, shape: Shape, sample = STATS): Synthetic {
  return makeSynthetic(area.make('stack'), shape, sample);
}

function pick(
  bench: Bench,
  quick: readonly number[],
  usual: readonly number[],
  full: readonly number[],
): readonly number[] {
  // From the least: who is too slow is left out where there is more.
  return bench.quick ? quick : bench.full ? [...usual, ...full].toSorted((a, b) => a - b) : usual;
}

function looks(area: Area, what: string, { paths }: Synthetic): Measure[] {
  return [
    walk(`first walk, by ${what}`),
    uncachedStats(`a stat that is not in the kernel's cache, by ${what}`, paths, join(area.folder, 'paths')),
  ];
}

function entries(bench: Bench, area: Area): Promise<void> {
  return measureCurve(bench, area, 'entries', pick(bench, [1000], [1000, 10_000, 100_000], [1_000_000]), (value) => {
    const synthetic = made(area, { layers: 3, folders: value / FILES, files: FILES, bytes: 0 });
    return { value, stack: synthetic.stack, measures: looks(area, 'entries', synthetic) };
  });
}

/** The same files, spread over more and more layers; every folder is in every layer. */
function layers(bench: Bench, area: Area): Promise<void> {
  return measureCurve(bench, area, 'layers', pick(bench, [8], [1, 8, 128], [2, 4, 16, 32, 64]), (value) => {
    const synthetic = made(area, { layers: value, folders: bench.quick ? 2 : 20, files: 256, bytes: 0 });
    return { value, stack: synthetic.stack, measures: looks(area, 'layers', synthetic) };
  });
}

function folderSize(bench: Bench, area: Area): Promise<void> {
  const values = pick(bench, [1000], [10, 1000, 30_000], [100_000, 1_000_000]);
  return measureCurve(bench, area, 'files in a folder', values, (value) => {
    const synthetic = made(area, { layers: 2, folders: 1, files: value, bytes: 0 });
    return { value, stack: synthetic.stack, measures: looks(area, 'folder size', synthetic) };
  });
}

function fileSize(bench: Bench, area: Area): Promise<void> {
  const KIB = 1024;
  const values = pick(bench, [KIB], [4, KIB, 16 * KIB, 256 * KIB], [64, 1024 * KIB]);
  return measureCurve(bench, area, 'KiB', values, (value) => {
    const synthetic = made(area, { layers: 1, folders: 1, files: 1, bytes: value * KIB }, 1);
    const [path] = synthetic.paths;
    const measures = [
      readFile('first read after mount, by file size', path),
      readFile('read again, by file size', path),
    ];
    return { value, stack: synthetic.stack, measures };
  });
}

function readers(bench: Bench, area: Area): Promise<void> {
  const count = bench.quick ? 200 : 2500;
  const synthetic = made(area, { layers: 3, folders: count / FILES, files: FILES, bytes: 1000 }, count);
  const make = (value: number): Point => {
    const list = join(area.folder, 'paths');
    const title = 'files opened and read, not in the caches of names';
    return { value, stack: synthetic.stack, measures: [parallelReads(title, synthetic.paths, list, value)] };
  };
  // Threads that wait for each other scatter more than anything else here.
  return measureCurve(bench, area, 'readers', bench.quick ? [4] : [1, 4, 16], make, bench.quick ? 1 : 4);
}

function mounts(bench: Bench, area: Area): Promise<void> {
  const synthetic = made(area, { layers: 3, folders: 10, files: FILES, bytes: 0 });
  return measureMounts(bench, area, synthetic.stack, pick(bench, [2], [1, 20, 200], [50]));
}
