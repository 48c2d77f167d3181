/** What many mounts of one image take while nobody uses them. */
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Area } from '../harness/area.js';
import type { Bench } from '../harness/bench.js';
import { median } from '../harness/figure.js';
import { run, runs } from '../harness/programs.js';
import { onRelease, turn } from '../harness/release.js';
import type { Peer, Stack } from '../peers/peer.js';
import { mountPeers } from '../peers/peers.js';

const AXIS = 'mounts';
const MOUNTING = 'mounting one more, and walking it';
/** So many of those that come to a place are timed, where the others can be mounted beside each other. */
const TIMED = 5;
/** After its last request a server tidies up. */
const REST = 800;
/** For so long they are watched, in a quick run more shortly. */
const [IDLE, QUICK] = [1200, 300];
/** Who would take longer (milliseconds) to mount as many is left out from there; not our servers, which are what is to be seen. */
const PATIENCE = 20_000;

/** Mounts more and more, walks each once, and looks at the servers. */
export async function measureMounts(bench: Bench, area: Area, stack: Stack, values: readonly number[]): Promise<void> {
  for (const peer of mountPeers(bench, stack).filter(({ kind }) => kind !== 'limit')) {
    const [rest, idle] = bench.quick ? [QUICK, QUICK] : [REST, IDLE];
    const mounted: string[] = [];
    const servers = new Set<number>();
    let last = 0;
    const began = performance.now();
    // Also an interrupt ends them.
    const release = onRelease(() => unmountAll(peer, stack, mounted, servers));
    try {
      for (const value of values) {
        const spare = peer.kind === 'peer' || peer.spare === true || servers.size === 0;
        if (spare && last * (value - mounted.length) > PATIENCE && !bench.full) {
          bench.note(MOUNTING, `${peer.name} takes long, and is left out above ${mounted.length} mounts`);
          break;
        }
        // Of many only the last are mounted one by one, and timed.
        if (peer.mountMany !== undefined && value - mounted.length > TIMED) {
          const beside = Array.from({ length: value - mounted.length - TIMED }, () => area.make('mnt'));
          mounted.push(...beside);
          for (const pid of peer.mountMany(stack, beside)) servers.add(pid);
          run('sh', '-c', 'for each; do find "$each" -printf "%s\\n"; done > /dev/null', 'sh', ...beside);
        }
        const took: number[] = [];
        while (mounted.length < value) {
          await turn();
          const started = performance.now();
          mountOne(peer, stack, area.make('mnt'), mounted, servers);
          took.push(performance.now() - started);
        }
        const at = { axis: AXIS, value };
        const keep = (title: string, unit: string, values: readonly number[]): void =>
          bench.add(title, { subject: peer.name, kind: peer.kind, unit, values, at });
        keep(MOUNTING, 'ms', took);
        last = median(took);
        if (servers.size === 0) continue;
        await sleep(rest);
        keep('memory of the servers, for each mount', 'MB', [memory(servers) / value]);
        const before = processorTime(servers);
        await sleep(idle);
        keep('processor time of idle servers, for each mount', 'ms a minute', [
          ((processorTime(servers) - before) * 60_000) / idle / value,
        ]);
      }
    } catch (error) {
      // Some cannot have as many.
      if (peer.kind !== 'peer') throw error;
      bench.note(
        MOUNTING,
        `${peer.name} fails with ${mounted.length + 1} mounts: ${(error as Error).message.trim().slice(0, 200)}`,
      );
    } finally {
      release();
      bench.say(`${AXIS}: ${peer.name}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
    }
  }
}

function mountOne(peer: Peer, stack: Stack, mountpoint: string, mounted: string[], servers: Set<number>): void {
  const pid = peer.mount(stack, mountpoint);
  mounted.push(mountpoint);
  if (pid !== undefined) servers.add(pid);
  run('sh', '-c', `find '${mountpoint}' -printf '%s\\n' > /dev/null`);
}

/** What is served by a process goes by one umount of all: some hundred commands of ours would take longer than what is measured. */
function unmountAll(peer: Peer, stack: Stack, mounted: readonly string[], servers: ReadonlySet<number>): void {
  if (servers.size === 0) for (const mountpoint of mounted.toReversed()) peer.unmount(stack, mountpoint);
  else if (mounted.length > 0) {
    // After an interrupt that its server was sent, too, a mount may be gone.
    const there = readFileSync('/proc/self/mounts', 'utf8');
    const left = mounted.filter((mountpoint) => there.includes(` ${mountpoint} `));
    if (left.length > 0) run('umount', ...left);
    while ([...servers].some(runs)) run('sleep', '0.1');
  }
}

/** MB: their own pages, and their part of those that they share with others. */
function memory(pids: ReadonlySet<number>): number {
  let kilobytes = 0;
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    kilobytes += Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
  }
  return kilobytes / 1024;
}

/** Milliseconds that they ran, each of their threads. */
function processorTime(pids: ReadonlySet<number>): number {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ', 1)[0]);
    }
  }
  return nanoseconds / 1e6;
}
