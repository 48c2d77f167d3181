/** A registry on loopback, and a way to it that counts what it gives. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../harness/programs.js';
import { onRelease } from '../harness/release.js';

/** A registry. Both are `localhost:PORT`. */
export interface LoopbackRegistry {
  readonly host: string;
  /** The same through a process that counts. */
  readonly counted: string;
  /** Bytes that came that way so far, headers too. */
  count(): number;
  stop(): void;
}

/** What the counting process runs: its arguments are the registry's port, its own, and the file for the sum. */
const COUNTER = `
import { connect, createServer } from 'node:net';
import { writeFileSync } from 'node:fs';
const [to, own, file] = process.argv.slice(-3);
let [sum, told] = [0, -1];
setInterval(() => { if (told !== sum) writeFileSync(file, String((told = sum))); }, 20);
createServer((client) => {
  const server = connect(Number(to), '127.0.0.1');
  server.on('data', (piece) => (sum += piece.length)).pipe(client).pipe(server);
  for (const [end, other] of [[client, server], [server, client]]) end.on('error', () => other.destroy());
}).listen(Number(own), '127.0.0.1');
`;

/** Starts Debian's docker-registry with an empty storage in a folder. */
export async function startRegistry(folder: string): Promise<LoopbackRegistry> {
  const [port, counting] = [await freePort(), await freePort()];
  const config = join(folder, 'config.yml');
  mkdirSync(join(folder, 'data'));
  // JSON is YAML.
  const settings = {
    version: '0.1',
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') } },
    http: { addr: `127.0.0.1:${port}` },
  };
  writeFileSync(config, JSON.stringify(settings));
  const sum = join(folder, 'count');
  writeFileSync(sum, '0');
  const children: ChildProcess[] = [];
  const stop = onRelease(() => children.forEach((child) => child.kill('SIGKILL')));
  const start = (program: string, ...args: string[]): void =>
    void children.push(spawn(program, args, { stdio: 'ignore' }));
  start('docker-registry', 'serve', config);
  start(process.execPath, '--input-type=module', '-e', COUNTER, '--', String(port), String(counting), sum);
  for (const each of [port, counting]) await answering(`http://127.0.0.1:${each}/v2/`);
  return {
    host: `localhost:${port}`,
    counted: `localhost:${counting}`,
    count() {
      run('sleep', '0.2');
      return Number(readFileSync(sum, 'utf8'));
    },
    stop,
  };
}

async function answering(url: string): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      await fetch(url);
      return;
    } catch (error) {
      if (i === 200) throw error;
      await sleep(50);
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
