import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ServerProcess } from './spawn.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-spawn-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function program(text: string): ServerProcess<object, unknown> {
  const file = join(folder, 'program.mjs');
  writeFileSync(file, `import { closeSync, readFileSync, writeSync } from 'node:fs'; ${text}`);
  return new ServerProcess(pathToFileURL(file), ['label']);
}

function exitOf({ child }: ServerProcess<object, unknown>): Promise<unknown> {
  return new Promise((done) => child.once('exit', (...how) => done(how)));
}

const ANSWERS = `const plan = JSON.parse(readFileSync(0, 'utf8'));
  writeSync(3, JSON.stringify({ ready: { got: plan } })); closeSync(3); closeSync(2); setInterval(() => {}, 1000);`;

it('tells the plan whenever it is known, and gives what the server says; then it is not ended any more', async () => {
  const server = program(ANSWERS);
  expect(await server.serve({ a: 1 })).toEqual({ got: { a: 1 } });
  server.abandon();
  expect(server.child.killed).toBe(false);
  server.child.kill();
});

it('ends with the signal that it was given, before and after it is ready', async () => {
  for (const before of [true, false]) {
    const stop = new AbortController();
    const server = program(ANSWERS);
    const ended = exitOf(server);
    if (before) stop.abort();
    const answer = await server.serve({}, stop.signal).catch((error: unknown) => error);
    expect(answer).toEqual(before ? expect.objectContaining({ code: 'unavailable' }) : { got: {} });
    stop.abort();
    expect(await ended).toEqual([null, 'SIGTERM']);
  }
});

it('ends when there is nothing to serve after all', async () => {
  const server = program(ANSWERS);
  const ended = exitOf(server);
  server.abandon();
  expect(await ended).toEqual([null, 'SIGTERM']);
});

it('says why a server ended before it was told anything', async () => {
  const server = program(`process.stderr.write('no such module, say'); process.exit(3);`);
  await once(server.child, 'close');
  await expect(server.serve({})).rejects.toThrow('ended before its mount was ready: no such module, say');
});

it('passes on what the server says went wrong', async () => {
  const failed = JSON.stringify({ failed: { code: 'permission-denied', message: 'May not' } });
  const server = program(`readFileSync(0); writeSync(3, ${JSON.stringify(failed)}); process.exit(1);`);
  await expect(server.serve({})).rejects.toMatchObject({ code: 'permission-denied', message: 'May not' });
});

it('fails when no process can be started, and has none to end', async () => {
  const node = process.execPath;
  process.execPath = join(folder, 'none');
  try {
    const server = program(ANSWERS);
    server.abandon();
    await expect(server.serve({})).rejects.toMatchObject({ code: 'unavailable' });
    await expect(server.serve({})).rejects.toThrow(/Cannot start the server: .*ENOENT/);
  } finally {
    process.execPath = node;
  }
});
