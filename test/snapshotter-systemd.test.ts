/** The service under systemd: its units, a socket that is handed over, and telling that it is ready and stops. */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { run } from './images/oci.js';
import { CLI, layerfs } from './support/cli.js';
import { need } from './support/needs.js';
import { connects } from './support/service.js';

const UNITS = fileURLToPath(new URL('../contrib/systemd', import.meta.url));
let folder: string;
const ends: (() => Promise<void>)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-s-'));
});
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
  rmSync(folder, { recursive: true, force: true });
});

interface Started {
  readonly output: () => string;
  readonly ended: Promise<number | NodeJS.Signals | null>;
  readonly stop: (signal: NodeJS.Signals) => Promise<number | NodeJS.Signals | null>;
}

function start(program: string, args: readonly string[], env: Record<string, string> = {}): Started {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const ended = new Promise<number | NodeJS.Signals | null>((done) => {
    child.once('close', (code, signal) => done(signal ?? code));
  });
  const stop = (signal: NodeJS.Signals): typeof ended => {
    child.kill(signal);
    return ended;
  };
  ends.push(async () => void (await stop('SIGKILL')));
  return { output: () => output, ended, stop };
}

const eventually = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 30_000, interval: 50 });
const SERVE = [CLI, 'snapshotter', 'serve', '--root'];

test('systemd accepts the units', async (context) => {
  need(context, 'systemd-analyze');
  // The program has to be where the unit says.
  mkdirSync(join(folder, 'bin'));
  symlinkSync(CLI, join(folder, 'bin/layerfs'));
  cpSync(UNITS, join(folder, 'units'), { recursive: true });
  const unit = join(folder, 'units/layerfs-snapshotter.service');
  const text = readFileSync(unit, 'utf8');
  expect(text).toContain('ExecStart=/usr/local/bin/layerfs snapshotter serve');
  writeFileSync(unit, text.replace('/usr/local/bin', join(folder, 'bin')));
  const units = ['socket', 'service'].map((kind) => join(folder, `units/layerfs-snapshotter.${kind}`));
  const { stderr } = await run('systemd-analyze', ['verify', '--man=no', ...units]);
  expect(stderr.split('\n').filter((line) => line.includes('layerfs'))).toEqual([]);
});

test('a socket that is handed over is served, and stays when the service stops', async (context) => {
  need(context, 'systemd-socket-activate');
  const socket = join(folder, 's');
  const serve = [process.execPath, ...SERVE, join(folder, 'store')];
  const service = start('systemd-socket-activate', ['--listen', socket, ...serve]);
  await eventually(async () => expect(await connects(socket)).toBe(true));
  // The first connection starts it; systemd-socket-activate is replaced by it.
  await eventually(() => expect(service.output()).toContain('"fd":3'));
  await eventually(async () => expect(await connects(socket)).toBe(true));
  expect(await service.stop('SIGTERM')).toBe(0);
  expect(service.output()).toContain('stopped');
  expect(statSync(socket).isSocket()).toBe(true);
});

test('it tells when it is ready, and when it stops', async (context) => {
  need(context, 'python3');
  const [heard, socket] = [join(folder, 'notify'), join(folder, 's')];
  const listener = start('python3', [
    '-uc',
    'import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\nwhile True: print(s.recv(4096))',
    heard,
  ]);
  await eventually(() => expect(statSync(heard).isSocket()).toBe(true));
  const service = start(process.execPath, [...SERVE, join(folder, 'store'), '--socket', socket], {
    NOTIFY_SOCKET: heard,
  });
  await eventually(() => expect(listener.output()).toBe("b'READY=1'\n"));
  expect(await connects(socket)).toBe(true);
  expect(await service.stop('SIGTERM')).toBe(0);
  await eventually(() => expect(listener.output()).toBe("b'READY=1'\nb'STOPPING=1'\n"));
});

test('it serves all the same where nobody hears that it is ready', async () => {
  const socket = join(folder, 's');
  const service = start(process.execPath, [...SERVE, join(folder, 'store'), '--socket', socket], {
    NOTIFY_SOCKET: join(folder, 'none'),
  });
  await eventually(async () => expect(await connects(socket)).toBe(true));
  await eventually(() => expect(service.output()).toContain('systemd could not be told READY=1'));
});

test('without any socket it says what to do', async () => {
  const { code, stderr } = await layerfs(['snapshotter', 'serve', '--root', join(folder, 'store')]);
  expect(stderr).toContain('give --socket PATH, or let systemd hand one over');
  expect(code).toBe(4);
});

test('what is handed over must be one socket', async () => {
  const script = (fds: string): string => `LISTEN_PID=$$ LISTEN_FDS=${fds} exec "$@" 3</dev/null`;
  const attempt = async (fds: string): Promise<string> => {
    const args = ['-c', script(fds), 'sh', process.execPath, ...SERVE, join(folder, 'store')];
    const service = start('sh', args);
    expect(await service.ended).toBe(4);
    return service.output();
  };
  expect(await attempt('1')).toContain('descriptor 3 is none');
  expect(await attempt('2')).toContain('one socket is wanted');
  // Meant for another process: not ours.
  const { stderr } = await layerfs(['snapshotter', 'serve', '--root', join(folder, 'store')], {
    env: { LISTEN_PID: '1', LISTEN_FDS: '1' },
  });
  expect(stderr).toContain('give --socket');
});
