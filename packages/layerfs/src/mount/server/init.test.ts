import { Connection, INIT } from '@layerfs/fuse';
import { close, setNonBlocking, socketpair, writeRaw } from '@layerfs/linux';
import { afterEach, expect, it } from 'vitest';
import { answerInit } from './init.js';

const opened: number[] = [];
afterEach(() => {
  for (const fd of opened.splice(0)) close(fd);
});

/** A connection whose kernel, a socket, has sent its INIT. */
function asked(major: number, minor: number): Connection {
  const [kernel, server] = socketpair();
  opened.push(kernel, server);
  setNonBlocking(server, true);
  const connection = new Connection(server, { init: { capabilities: [INIT.ASYNC_READ] } });
  const bytes = Buffer.alloc(56);
  for (const [at, value] of [
    [0, bytes.length],
    [4, 26],
    [8, 1],
    [40, major],
    [44, minor],
    [48, 131072],
    [52, 1],
  ]) {
    bytes.writeUInt32LE(value, at);
  }
  expect(writeRaw(kernel, bytes, bytes.length)).toBe(bytes.length);
  return connection;
}

it('agrees with a kernel that is new enough', () => {
  const connection = asked(7, 19);
  answerInit(connection);
  expect(connection.negotiated?.minor).toBe(19);
});

it.each([
  [7, 18],
  [6, 9],
])('says at once that protocol %i.%i is too old', (major, minor) => {
  const connection = asked(major, minor);
  const message = `This kernel speaks FUSE protocol ${major}.${minor}; at least 7.19 (Linux 3.5) is needed`;
  expect(() => answerInit(connection)).toThrow(expect.objectContaining({ code: 'unavailable', message }));
});

it('does not wait for a kernel that is gone', () => {
  const [kernel, server] = socketpair();
  opened.push(server);
  setNonBlocking(server, true);
  close(kernel);
  const connection = new Connection(server, { init: { capabilities: [] } });
  expect(() => answerInit(connection)).toThrow(/took the mount away/);
});
