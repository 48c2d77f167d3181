/** From a registry on loopback to a root that can be used: the first time, and the next tag of the same image. Root only. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { layerBlobs, testImage } from '../data/images.js';
import { LayoutWriter } from '../data/layout.js';
import type { Area } from '../harness/area.js';
import { inArea, type Bench, type Benchmark } from '../harness/bench.js';
import type { Kind } from '../harness/figure.js';
import { LAYERFS, memoryOf, peakMemory, run } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';
import { startContainerd } from '../peers/containerd.js';
import { openStorage } from '../peers/podman.js';
import { startRegistry, type LoopbackRegistry } from '../peers/registry.js';

/** Bytes of what changes from one tag to the next. */
const CHANGE = 10 << 20;

/** One that pulls. */
interface Puller {
  readonly name: string;
  readonly kind: Kind;
  /** Makes an empty store. */
  open(): Store;
}

/** A store, as empty as it was opened, or with what was pulled. */
interface Store {
  /** A shell command after which the root of the reference can be used, or is unpacked. */
  command(ref: string): string;
  /** Milliseconds of processor time that others took for it, so far. */
  cpu(): number;
  /** Most megabytes that a pull took. */
  memory(ref: string): Promise<number>;
  close(): void;
}

/** What one pull took. */
interface Taken {
  readonly time: number;
  readonly cpu: number;
}

export const pulling: Benchmark = {
  name: 'pull',
  about: 'an image from a registry on loopback to a usable root, first and next tag, against skopeo, podman and ctr',
  needsRoot: true,
  run: (bench) =>
    inArea(bench, bench.quick ? 6 : 40, async (area) => {
      if (!bench.has('docker-registry') || !bench.has('skopeo')) return;
      const registry = await startRegistry(area.make('registry'));
      try {
        await putTags(bench, area, registry);
        const pullers = [ours(area), ...containersTools(bench, area)];
        const containerd = await containerdTool(bench, area);
        if (containerd !== undefined) pullers.push(containerd.puller);
        try {
          await measure(bench, pullers, registry);
        } finally {
          await containerd?.stop();
        }
      } finally {
        registry.stop();
      }
    }),
};

/** `v0` and `v1`: a Debian root, below a layer that differs. */
async function putTags(bench: Bench, area: Area, registry: LoopbackRegistry): Promise<void> {
  const [base] = layerBlobs(testImage(bench.quick ? 'mini' : 'debian', 'oci-plain'));
  const layout = new LayoutWriter(join(area.make('tags'), 'layout'));
  const baseLayer = await layout.gzipLayer(base);
  const tar = join(area.folder, 'layer.tar');
  for (const tag of ['v0', 'v1']) {
    const folder = area.make('app');
    mkdirSync(join(folder, 'srv/app'), { recursive: true });
    for (let i = 0; i < 50; i++) writeFileSync(join(folder, `srv/app/part-${i}`), randomBytes(CHANGE / 50));
    run('tar', '-c', '--numeric-owner', '--sort=name', '-C', folder, '-f', tar, '.');
    layout.image([baseLayer, await layout.gzipLayer(tar)], tag);
  }
  layout.finish();
  for (const tag of ['v0', 'v1']) {
    const to = `docker://${registry.host}/app:${tag}`;
    run('skopeo', 'copy', '-q', '--dest-tls-verify=false', `oci:${layout.folder}:${tag}`, to);
  }
}

/** Rounds in turn: each a new store, into which both tags are pulled. */
async function measure(bench: Bench, pullers: readonly Puller[], registry: LoopbackRegistry): Promise<void> {
  const taken = pullers.map(() => ({ first: [] as Taken[], next: [] as Taken[] }));
  for (let round = 0; round < bench.rounds(3); round++) {
    for (const [i, puller] of pullers.entries()) {
      const store = puller.open();
      try {
        taken[i].first.push(timed(store, `${registry.host}/app:v0`));
        taken[i].next.push(timed(store, `${registry.host}/app:v1`));
      } finally {
        store.close();
      }
    }
  }
  for (const which of ['first', 'next'] as const) {
    for (const [i, { name, kind }] of pullers.entries()) {
      const values = (what: keyof Taken): number[] => taken[i][which].map((one) => one[what]);
      bench.add(`${which} pull, to a usable root`, { subject: name, kind, unit: 'ms', values: values('time') });
      bench.add(`${which} pull, processor time`, { subject: name, kind, unit: 'ms', values: values('cpu') });
    }
  }
  for (const puller of pullers) {
    const { name, kind } = puller;
    const store = puller.open();
    const bytes: number[] = [];
    try {
      for (const tag of ['v0', 'v1']) {
        const before = registry.count();
        run('sh', '-c', store.command(`${registry.counted}/app:${tag}`));
        bytes.push((registry.count() - before) / 1e6);
      }
    } finally {
      store.close();
    }
    bench.once('first pull, bytes fetched', name, kind, 'MB', bytes[0]);
    bench.once('next pull, bytes fetched', name, kind, 'MB', bytes[1]);
    const another = puller.open();
    try {
      bench.once('first pull, peak memory', name, kind, 'MB', await another.memory(`${registry.host}/app:v0`));
    } finally {
      another.close();
    }
  }
}

function timed(store: Store, ref: string): Taken {
  // What the one before left to write out must not be paid by the next.
  run('sync');
  const before = store.cpu();
  const started = performance.now();
  const words = run('sh', '-c', `${store.command(ref)} > /dev/null; code=$?; times; exit $code`);
  const time = performance.now() - started;
  // The shell's own times, then those of its children: `0m0.000s 0m0.000s`.
  const parts = words.trim().split('\n').at(-1)?.split(' ') ?? [];
  const children = parts.map((part) => /^(\d+)m([\d.]+)s$/.exec(part) ?? ['', '0', '0']);
  const own = children.reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000,
    0,
  );
  return { time, cpu: own + store.cpu() - before };
}

function ours(area: Area): Puller {
  return {
    name: 'layerfs pull, and mount',
    kind: 'ours',
    open() {
      const root = area.make('store');
      const mounts: string[] = [];
      const release = onRelease(() => {
        for (const mountpoint of mounts) run(LAYERFS, '--root', root, 'unmount', mountpoint);
      });
      return {
        command(ref) {
          const mountpoint = area.make('mount');
          mounts.push(mountpoint);
          return `${LAYERFS} --root ${root} pull -q ${ref} && ${LAYERFS} --root ${root} mount ${ref} ${mountpoint}`;
        },
        cpu: () => 0,
        memory: (ref) =>
          peakMemory(process.execPath, join(LAYERFS, '../../@layerfs/cli/bin/layerfs.js'), '--root', root, 'pull', ref),
        close: release,
      };
    },
  };
}

/** Those with containers/storage. What they leave is unpacked; to mount it would come on top. */
function containersTools(bench: Bench, area: Area): Puller[] {
  const puller = (name: string, program: string, words: (storage: string, ref: string) => string[]): Puller => ({
    name,
    kind: 'peer',
    open() {
      const folder = area.make(program);
      const storage = openStorage(folder);
      const at = `overlay@${storage.graph}+${join(folder, 'run')}`;
      return {
        command: (ref) => `${storage.environment} ${program} ${words(at, ref).join(' ')}`,
        cpu: () => 0,
        memory: (ref) => peakMemory('env', storage.environment, program, ...words(at, ref)),
        close: () => storage.close(),
      };
    },
  });
  return [
    puller('skopeo copy', 'skopeo', (storage, ref) => [
      'copy',
      '-q',
      '--src-tls-verify=false',
      `docker://${ref}`,
      `containers-storage:[${storage}]${ref}`,
    ]),
    ...(bench.has('podman')
      ? [puller('podman pull', 'podman', (_, ref) => ['pull', '-q', '--tls-verify=false', ref])]
      : []),
  ];
}

async function containerdTool(
  bench: Bench,
  area: Area,
): Promise<{ puller: Puller; stop(): Promise<void> } | undefined> {
  if (!bench.has('containerd') || !bench.has('ctr')) return undefined;
  const containerd = await startContainerd(area.make('containerd'));
  const ctr = (...args: string[]): string => run('ctr', '-a', containerd.socket, ...args);
  const ticks = Number(run('getconf', 'CLK_TCK'));
  const puller: Puller = {
    name: 'ctr image pull',
    kind: 'peer',
    open: () => ({
      command: (ref) => `ctr -a ${containerd.socket} image pull --plain-http ${ref}`,
      cpu() {
        const fields = readFileSync(`/proc/${containerd.pid}/stat`, 'utf8')
          .replace(/^.*\) /, '')
          .split(' ');
        return ((Number(fields[11]) + Number(fields[12])) / ticks) * 1000;
      },
      memory(ref) {
        // The most since it was told to forget; its programs for inflating are not in it.
        writeFileSync(`/proc/${containerd.pid}/clear_refs`, '5');
        ctr('image', 'pull', '--plain-http', ref);
        const most = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${containerd.pid}/status`, 'utf8'));
        return Promise.resolve(most === null ? memoryOf(containerd.pid).rss : Number(most[1]) / 1024);
      },
      // Content and snapshots go with the last image.
      close() {
        const names = ctr('image', 'ls', '-q')
          .trim()
          .split('\n')
          .filter((name) => name !== '');
        if (names.length > 0) ctr('image', 'rm', '--sync', ...names);
      },
    }),
  };
  return { puller, stop: () => containerd.stop() };
}
