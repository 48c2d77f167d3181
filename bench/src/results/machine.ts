/** What a results file says of the machine: figures mean little without. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { TOP, has, run } from '../harness/programs.js';

/** The machine's facts. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** MiB. */
  readonly memory: number;
  readonly kernel: string;
  /** Of the folder for temporary files. */
  readonly disk: string;
  readonly node: string;
  /** Of this repository; with a plus where files were changed since. */
  readonly commit: string;
  /** Each peer's own words. */
  readonly peers: Readonly<Record<string, string>>;
  /** Of one minute, at the start. */
  readonly load: number;
  /** The part of all processors' time that others took while we slept at the start, 0 to 1. */
  readonly busy: number;
}

/** How each peer tells its version. */
const PEERS: Readonly<Record<string, readonly string[]>> = {
  'fuse-overlayfs': ['--version'],
  'unionfs-fuse': ['-V'],
  umoci: ['--version'],
  skopeo: ['--version'],
  podman: ['--version'],
  buildah: ['--version'],
  containerd: ['--version'],
  runc: ['--version'],
};
/** Above this the machine does something else. */
const IDLE = 0.05;

/** Looks for a second. */
export async function inspectMachine(): Promise<Machine> {
  const before = processorTime();
  await sleep(1000);
  const after = processorTime();
  return {
    cpu: cpus()[0].model.trim(),
    cores: availableParallelism(),
    memory: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    disk: diskOf(tmpdir()),
    node: process.versions.node,
    commit: commit(),
    peers: peerVersions(),
    load: loadavg()[0],
    busy: 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all),
  };
}

/** Why its figures are not to be trusted; undefined when it is idle. */
export function notIdle({ busy, load, cores }: Machine): string | undefined {
  if (busy <= IDLE) return undefined;
  const percent = `${(busy * 100).toFixed(0)} % of ${cores} processors`;
  return `the machine is not idle: others take ${percent} (load ${load.toFixed(1)}); figures of this run are worth little`;
}

/** Ticks of all processors since the start of the machine. */
function processorTime(): { idle: number; all: number } {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].trim().split(/\s+/).slice(1, 9).map(Number);
  return { idle: fields[3] + fields[4], all: fields.reduce((sum, value) => sum + value, 0) };
}

function diskOf(folder: string): string {
  if (!has('findmnt')) return 'unknown';
  return run('findmnt', '-n', '-o', 'FSTYPE,SOURCE,SIZE', '--target', folder).trim().replaceAll(/\s+/g, ' ');
}

function commit(): string {
  const git = (...words: string[]): string => spawnSync('git', ['-C', TOP, ...words], { encoding: 'utf8' }).stdout;
  if (!has('git')) return 'unknown';
  const changed = git('status', '--porcelain', '--untracked-files=no').trim() !== '';
  return `${git('rev-parse', '--short=12', 'HEAD').trim()}${changed ? '+' : ''}`;
}

function peerVersions(): Record<string, string> {
  const versions: Record<string, string> = {};
  for (const [program, words] of Object.entries(PEERS)) {
    if (!has(program)) continue;
    const { stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' });
    const lines = `${stdout}\n${stderr}`.split('\n').filter((text) => /\d+\.\d+/.test(text));
    // Those that use libfuse tell its version, too.
    const line = lines.find((text) => text.includes(program)) ?? lines[0] ?? '';
    versions[program] = /\d+\.\d+(\.\d+)?[^\s,;]*/.exec(line)?.[0] ?? 'unknown';
  }
  return versions;
}
