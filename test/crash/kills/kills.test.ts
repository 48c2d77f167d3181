/**
 * Three processes import, commit, remove and collect in one store, and are killed (SIGKILL) at random moments, LAYERFS_STORE_KILLS
 * times in all: what was ever reported done is there and whole, what was removed is gone, and nothing is left over.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { scratchFolder } from '../../support/scratch.js';
import { built } from '../record/record.js';
import { random } from '../states/states.js';
import type { Names } from '../states/check.js';

const KILLS = Number(process.env['LAYERFS_STORE_KILLS'] ?? 30);
const SEED = Number(process.env['LAYERFS_STORE_KILLS_SEED'] ?? Date.now() % 1_000_000);
/** All are killed at once, and the store is looked through, after so many kills. */
const KILLS_EACH = 15;
const MINUTES = 60_000;
const run = promisify(execFile);

const scratch = scratchFolder('layerfs-kills-');
const root = join(scratch, 'store');
const sources = join(scratch, 'sources');
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** What a name must be: there, gone, or either, while a command about it is under way or was when its process died. */
type Fate = 'there' | 'gone' | 'either';
const images = new Map<string, Fate>();
const snapshots = new Map<string, Fate>();
const failures: string[] = [];
let commands = 0;

/** One process after the other, each with the next commands, until it is told to stop. */
class Slot {
  #child: ChildProcess | undefined;
  #lines: Interface | undefined;
  readonly #next: () => number;
  readonly #mine: string;
  #count = 0;
  /** Where what a process of another slot may need is not touched. */
  readonly #plan: (slot: Slot) => [what: string, first: string, second: string];

  constructor(mine: string, seed: number, plan: (slot: Slot) => [string, string, string]) {
    this.#mine = mine;
    this.#next = random(seed);
    this.#plan = plan;
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#next() * list.length)];
  }

  fresh(): string {
    return `${this.#mine}${this.#count++}`;
  }

  own(kind: ReadonlyMap<string, Fate>): string[] {
    return [...kind].filter(([name, fate]) => name.startsWith(this.#mine) && fate === 'there').map(([name]) => name);
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [built('kills/worker.js'), root, sources], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.stdin.on('error', () => undefined);
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout });
    void this.#work(child, this.#lines[Symbol.asyncIterator]());
    await Promise.resolve();
  }

  async #work(child: ChildProcess, answers: AsyncIterator<string>): Promise<void> {
    const next = async (): Promise<string | undefined> => {
      const { done, value } = await answers.next();
      return done === true ? undefined : value;
    };
    if ((await next()) !== 'ready') return;
    for (;;) {
      const [what, first, second] = this.#plan(this);
      const [kind, name, then] =
        what === 'import' || what === 'commit'
          ? ([images, second, 'there'] as const)
          : what === 'snapshot'
            ? ([snapshots, second, 'there'] as const)
            : what === 'rm'
              ? ([snapshots, first, 'gone'] as const)
              : ([images, first, 'gone'] as const);
      if (what !== 'gc') kind.set(name, 'either');
      child.stdin?.write(`${what} ${first} ${second}\n`);
      const answer = await next();
      if (answer === undefined) return;
      commands++;
      if (what !== 'gc') kind.set(name, answer === 'done' ? then : 'either');
      if (answer !== 'done') failures.push(`${what} ${first} ${second}: ${answer}`);
    }
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.signalCode !== null || child.exitCode !== null) return;
    const end = once(child, 'exit');
    child.kill('SIGKILL');
    await end;
    this.#lines?.close();
    // What it had answered is read before the next one starts.
    await sleep(5);
  }
}

const importer = (slot: Slot): [string, string, string] => {
  const old = slot.own(images);
  if (old.length > 3) return ['rmi', slot.pick(old), ''];
  return ['import', slot.pick(['small', 'large', 'rootfs.tar']), slot.fresh()];
};
const committer = (slot: Slot): [string, string, string] => {
  const own = slot.own(snapshots);
  const made = slot.own(images);
  if (own.length === 0) return ['snapshot', 'base', slot.fresh()];
  if (made.length > 3) return ['rmi', slot.pick(made), ''];
  return slot.pick([0, 1, 2, 3]) === 0 ? ['rm', slot.pick(own), ''] : ['commit', slot.pick(own), slot.fresh()];
};
const remover = (slot: Slot): [string, string, string] => {
  const own = slot.own(images);
  if (own.length === 0) return ['import', slot.pick(['small', 'large', 'rootfs.tar']), slot.fresh()];
  return slot.pick([0, 1]) === 0 ? ['gc', '', ''] : ['rmi', slot.pick(own), ''];
};

async function look(...args: string[]): Promise<void> {
  const { stdout } = await run(process.execPath, [built('kills/look.js'), root, ...args]);
  if (args.length === 0) return;
  const found = JSON.parse(stdout) as Names;
  const there = { images: new Set(found.images), snapshots: new Set(found.snapshots) };
  for (const [name, fate] of images) compare(name, fate, there.images.has(`${name}:latest`), images);
  for (const [name, fate] of snapshots) compare(name, fate, there.snapshots.has(name), snapshots);
}

function compare(name: string, fate: Fate, there: boolean, kind: Map<string, Fate>): void {
  if (fate !== 'either') expect({ name, there }).toEqual({ name, there: fate === 'there' });
  kind.set(name, there ? 'there' : 'gone');
}

test(`${KILLS} kills in a store that three processes use`, { timeout: 5 * MINUTES + KILLS * 20_000 }, async () => {
  await run(process.execPath, [built('kills/prepare.js'), root, sources]);
  images.set('base', 'there');
  const slots = [new Slot('i', SEED, importer), new Slot('c', SEED + 1, committer), new Slot('r', SEED + 2, remover)];
  const next = random(SEED + 3);
  try {
    for (let killed = 0; killed < KILLS;) {
      await Promise.all(slots.map((slot) => slot.start()));
      for (const end = Math.min(KILLS, killed + KILLS_EACH - 3); killed < end; killed++) {
        await sleep(100 + next() * 500);
        const slot = slots[Math.floor(next() * 3)];
        await slot.kill();
        // While the others go on.
        if (killed % 5 === 0) await look();
        await slot.start();
      }
      await sleep(200 + next() * 400);
      await Promise.all(slots.map((slot) => slot.kill()));
      killed += 3;
      await look('end');
    }
  } catch (error) {
    throw new Error(`LAYERFS_STORE_KILLS_SEED=${SEED}`, { cause: error });
  } finally {
    await Promise.all(slots.map((slot) => slot.kill().catch(() => undefined)));
  }
  expect(failures).toEqual([]);
  expect(commands).toBeGreaterThan(KILLS / 3);
  console.log(`${KILLS} kills, ${commands} commands done`);
});
