/** What many mounts of one image take while nobody uses them. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Area } from '../harness/area.js';
import type { Bench } from '../harness/bench.js';
import { run } from '../harness/programs.js';
import { onRelease, turn } from '../harness/release.js';
import type { Peer, Stack } from '../peers/peer.js';
import { mountPeers } from '../peers/peers.js';

const AXIS = 'mounts';
const MOUNTING = 'mounting one more, and walking it';
/** After its last request a server tidies up. */
const REST = 2000;
/** For so long they are watched. */
const IDLE = 4000;
const TICK = 10;
/** Where nothing serves a mount, more of them tell nothing new. */
const WITHOUT_SERVER = 50;
/** A peer for which mounting more takes longer (milliseconds) is left out from there. */
const PATIENCE = 30_000;

/** Mounts more and more, walks each once, and looks at the servers. */
export async function measureMounts(bench: Bench, area: Area, stack: Stack, values: readonly number[]): Promise<void> {
  for (const peer of mountPeers(bench, stack).filter(({ kind }) => kind !== 'limit')) {
    const releases: (() => void)[] = [];
    const servers = new Set<number>();
    try {
      for (const value of values) {
        const took: number[] = [];
        const began = performance.now();
        if (releases.length > 0 && servers.size === 0 && value > WITHOUT_SERVER && !bench.full) break;
        while (releases.length < value) {
          await turn();
          const started = performance.now();
          mountOne(peer, stack, area.make('mnt'), releases, servers);
          took.push(performance.now() - started);
        }
        const at = { axis: AXIS, value };
        const keep = (title: string, unit: string, values: readonly number[]): void =>
          bench.add(title, { subject: peer.name, kind: peer.kind, unit, values, at });
        keep(MOUNTING, 'ms', took);
        if (servers.size === 0) continue;
        await sleep(REST);
        keep('memory of the servers, for each mount', 'MB', [memory(servers) / value]);
        const before = processorTime(servers);
        await sleep(IDLE);
        keep('processor time of idle servers, for each mount', 'ms a minute', [
          ((processorTime(servers) - before) * 60_000) / IDLE / value,
        ]);
        const spare = peer.kind === 'peer' || peer.spare === true;
        if (!spare || performance.now() - began < PATIENCE || value === values.at(-1) || bench.full) continue;
        bench.note(MOUNTING, `${peer.name} takes long, and is left out above ${value} mounts`);
        break;
      }
      bench.say(`${AXIS}: ${peer.name} done`);
    } catch (error) {
      // Some cannot have as many.
      if (peer.kind !== 'peer') throw error;
      bench.note(
        MOUNTING,
        `${peer.name} fails with ${releases.length + 1} mounts: ${(error as Error).message.trim().slice(0, 200)}`,
      );
    } finally {
      for (const release of releases.toReversed()) release();
    }
  }
}

function mountOne(peer: Peer, stack: Stack, mountpoint: string, releases: (() => void)[], servers: Set<number>): void {
  const pid = peer.mount(stack, mountpoint);
  releases.push(onRelease(() => peer.unmount(stack, mountpoint)));
  if (pid !== undefined) servers.add(pid);
  run('sh', '-c', `find '${mountpoint}' -printf '%s\\n' > /dev/null`);
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

/** Milliseconds that they ran. */
function processorTime(pids: ReadonlySet<number>): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * TICK;
}
