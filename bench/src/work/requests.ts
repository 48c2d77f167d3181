import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeSynthetic, type Synthetic } from '../data/synthetic.js';
import type { Area } from '../harness/area.js';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import { run } from '../harness/programs.js';
import { turn } from '../harness/release.js';
import { layerfsProfiled } from '../peers/layerfs.js';
import { whileMounted } from '../peers/peer.js';

const FOLDERS = 5;
const FILES = 100;

/** Something that programs do to a path, as JavaScript with `fs` and `path`; `before` is done first, and not counted. */
interface Operation {
  readonly name: string;
  readonly writable?: true;
  /** Also in quick runs. */
  readonly quick?: true;
  readonly before?: string;
  readonly code: string;
}

const READ = 'fs.readFileSync(path)';
const OPERATIONS: readonly Operation[] = [
  { name: 'stat', quick: true, code: 'fs.lstatSync(path)' },
  { name: 'stat again', before: 'fs.lstatSync(path)', code: 'fs.lstatSync(path)' },
  { name: 'stat of a missing name', code: "fs.lstatSync(path + '-', { throwIfNoEntry: false })" },
  { name: 'open, read, close', quick: true, before: 'fs.lstatSync(path)', code: READ },
  { name: 'open, read, close again', before: READ, code: READ },
  { name: 'create, write, close', writable: true, quick: true, code: "fs.writeFileSync(path + '-new', 'text')" },
  {
    name: 'append to a lower file',
    writable: true,
    before: 'fs.lstatSync(path)',
    code: "fs.appendFileSync(path, 'x')",
  },
  { name: 'chmod of a lower file', writable: true, before: 'fs.lstatSync(path)', code: 'fs.chmodSync(path, 0o600)' },
  { name: 'unlink of a lower file', writable: true, before: 'fs.lstatSync(path)', code: 'fs.unlinkSync(path)' },
  { name: 'mkdir', writable: true, code: "fs.mkdirSync(path + '-folder')" },
];

const SCRIPT = `
import * as fs from 'node:fs';
import { dirname } from 'node:path';
const [root, list, ...codes] = process.argv.slice(1);
const paths = fs.readFileSync(list, 'utf8').split('\\n').map((path) => root + '/' + path);
for (const folder of new Set(paths.map(dirname))) fs.lstatSync(folder);
for (const code of codes) {
  const action = new Function('fs', 'path', code);
  for (const path of paths) action(fs, path);
}`;

/** Counts and latencies as the mount server writes them (docs/mount.md, "Tracing"). */
interface Profile {
  readonly opcodes: Readonly<
    Record<string, { readonly count: number; readonly percentiles: Readonly<Record<string, number>> }>
  >;
}

/** Requests are what costs: how many each operation takes, and what the server does for each. */
export const requests: Benchmark = {
  name: 'requests',
  about: 'requests to our server for each operation, and the time it takes for each opcode',
  needsRoot: true,
  run: (bench) =>
    inArea(bench, 4, async (area) => {
      const shape = { layers: 2, folders: FOLDERS, files: FILES, bytes: 1000 };
      const synthetic = makeSynthetic(area.make('stack'), shape, 0);
      const paths = Array.from({ length: FOLDERS * FILES }, (_, i) => pathOf(i));
      const list = join(area.folder, 'paths');
      writeFileSync(list, paths.join('\n'));
      for (const operation of bench.quick ? OPERATIONS.filter(({ quick }) => quick) : OPERATIONS) {
        await turn();
        const { name, before, code, writable } = operation;
        const count = (codes: readonly string[]): Profile =>
          profiled(bench, area, synthetic, list, codes, writable === true);
        const base = count(before === undefined ? [] : [before]);
        const all = count(before === undefined ? [code] : [before, code]);
        report(bench, name, base, all, paths.length);
      }
    }),
};

function pathOf(i: number): string {
  return `folder-${Math.floor(i / FILES)}/file-${String(i % FILES).padStart(7, '0')}`;
}

let sequence = 0;

function profiled(
  bench: Bench,
  area: Area,
  { stack }: Synthetic,
  list: string,
  codes: readonly string[],
  writable: boolean,
): Profile {
  const file = join(area.folder, `profile-${sequence++}.json`);
  const mountpoint = join(area.folder, 'mnt');
  mkdirSync(mountpoint, { recursive: true });
  const work = (): void =>
    void run(process.execPath, '--input-type=module', '-e', SCRIPT, '--', mountpoint, list, ...codes);
  whileMounted(layerfsProfiled(file), stack, mountpoint, work, writable ? area.make('scratch') : undefined);
  keep(bench, file);
  return JSON.parse(readFileSync(file, 'utf8')) as Profile;
}

function keep(bench: Bench, file: string): void {
  if (bench.profiles === undefined) return;
  for (const each of [file, `${file}.cpuprofile`]) {
    copyFileSync(each, join(bench.profiles, `requests-${each.slice(each.lastIndexOf('/') + 1)}`));
  }
}

function report(bench: Bench, name: string, base: Profile, all: Profile, paths: number): void {
  const title = 'requests for each operation';
  let sum = 0;
  for (const [opcode, { count, percentiles }] of Object.entries(all.opcodes)) {
    const more = (count - (base.opcodes[opcode]?.count ?? 0)) / paths;
    // Those that come now and then (FORGET, the root's GETATTR) belong to no operation.
    if (more < 0.05) continue;
    sum += more;
    bench.once(title, `${name}: ${opcode}`, 'ours', 'requests', more);
    for (const [percentile, micros] of Object.entries(percentiles)) {
      if (percentile === '50' || percentile === '99')
        bench.once(`time in the server, percentile ${percentile}`, `${name}: ${opcode}`, 'ours', 'µs', micros);
    }
  }
  bench.once(title, `${name}: all`, 'ours', 'requests', sum);
}
