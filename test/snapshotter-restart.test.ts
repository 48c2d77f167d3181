/** The service, and containerd, are killed while containers run and start: running ones go on, nothing is left over. */
import { spawnSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi, type TestContext } from 'vitest';
import { ContainerdOnLayerfs } from './support/containerd-on-layerfs.js';
import { missing, needImage } from './support/needs.js';
import type { Service } from './support/service.js';

const SNAPSHOTTER = ['--snapshotter', 'layerfs'];
const IMAGE = 'test.local/debian:latest';
/** How many run, and how many start, when something is killed. */
const COUNT = Number(process.env['LAYERFS_CONTAINERS'] ?? 10);
const MINUTES = 60_000;

const reason = missing('root', 'containerd', 'ctr', 'runc', 'tar', 'pgrep');
if (reason !== undefined) console.warn(`skipped: containers go on when the service is killed: ${reason}`);

describe.skipIf(reason !== undefined)('what is killed', () => {
  let service: Service;
  let both: ContainerdOnLayerfs;

  beforeAll(async () => {
    both = await ContainerdOnLayerfs.start('layerfs-restart-');
    ({ service } = both);
  });
  afterAll(() => both.stop());

  const ctr = (...args: string[]): Promise<string> => both.ctr(...args);
  const eventually = <T>(action: () => T | Promise<T>): Promise<T> =>
    vi.waitFor(action, { timeout: 120_000, interval: 500 });
  const names = (what: string): string[] => Array.from({ length: COUNT }, (_, i) => `${what}-${i}`);

  async function needDebian(context: TestContext): Promise<void> {
    const { layers } = await needImage(context, 'debian');
    if ((await ctr('image', 'ls', '-q')).includes(IMAGE)) return;
    // A root filesystem is all that is wanted here.
    await both.importImage(IMAGE, [createReadStream(layers[0].tar!)]);
  }

  /** Starts containers that stay, kills something while as many more start, and looks at what became of all. */
  async function goesOn(kill: () => Promise<void>, restart: () => Promise<void>): Promise<string[]> {
    const [running, starting] = [names('running'), names('starting')];
    const repeated: string[] = [];
    for (const name of running) {
      await ctr('run', '-d', ...SNAPSHOTTER, IMAGE, name, '/bin/sh', '-c', `echo ${name} > /mine; exec sleep 1000`);
    }
    try {
      const begin = (name: string): Promise<string> =>
        ctr('run', '--rm', ...SNAPSHOTTER, IMAGE, name, '/bin/sh', '-ec', `echo ${name} > /mine; cat /mine`);
      const first = Promise.allSettled(starting.map((name) => begin(name)));
      await kill();
      await first;
      await restart();
      for (const name of running) {
        const said = eventually(() =>
          ctr('task', 'exec', '--exec-id', `look-${Date.now()}`, name, '/bin/cat', '/mine'),
        );
        expect(await said).toBe(`${name}\n`);
      }
      // Those that failed are repeated, as a runtime's user does, and so are those that were done.
      // At first under the same name. A containerd that was killed while it started a shim may never let go of that.
      for (const name of starting) {
        let attempts = 0;
        await eventually(async () => {
          const again = attempts++ === 0 ? name : `${name}-${attempts}`;
          repeated.push(again);
          await clear(again);
          expect(await begin(again)).toBe(`${again}\n`);
        });
      }
    } finally {
      for (const name of starting) endForgotten(name);
      for (const name of [...running, ...starting, ...repeated]) await clear(name);
    }
    return whatIsLeft();
  }

  async function clear(name: string): Promise<void> {
    const absent = (): undefined => undefined;
    await ctr('task', 'rm', '-f', name).catch(absent);
    await ctr('container', 'rm', name).catch(absent);
    await ctr('snapshot', ...SNAPSHOTTER, 'rm', name).catch(absent);
  }

  /**
   * A containerd that is killed while it starts a shim may know nothing of it afterwards, whatever the snapshotter: then somebody has to
   * end it.
   */
  function endForgotten(name: string): void {
    const shim = `^[^ ]*containerd-shim-runc-v2 .*-id ${name} -address ${both.socket}$`;
    const { stdout } = spawnSync('pgrep', ['-f', shim], { encoding: 'utf8' });
    for (const pid of stdout.split('\n').filter((line) => line !== '')) {
      process.kill(Number(pid), 'SIGKILL');
      spawnSync('runc', ['--root', '/run/containerd/runc/default', 'delete', '--force', name]);
    }
  }

  /** Tasks, and snapshots that are no layers, after garbage was collected. */
  async function whatIsLeft(): Promise<string[]> {
    const lease = (await ctr('leases', 'create')).trim();
    await ctr('leases', 'delete', '--sync', lease);
    const rows = (await ctr('snapshot', ...SNAPSHOTTER, 'ls')).trim().split('\n').slice(1);
    const tasks = (await ctr('task', 'ls', '-q')).split('\n').filter((name) => name !== '');
    return [...tasks, ...rows.filter((row) => !row.includes('Committed'))];
  }

  test('kill -9 of the service', { timeout: 10 * MINUTES }, async (context) => {
    await needDebian(context);
    const left = await goesOn(
      async () => void (await service.stop('SIGKILL')),
      () => service.start(),
    );
    expect(left).toEqual([]);
  });

  test('kill -9 of containerd', { timeout: 10 * MINUTES }, async (context) => {
    await needDebian(context);
    const left = await goesOn(
      () => Promise.resolve(void process.kill(both.pid, 'SIGKILL')),
      () => both.restartContainerd(),
    );
    expect(left).toEqual([]);
  });
});
