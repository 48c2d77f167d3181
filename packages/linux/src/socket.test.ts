import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { close, readRaw, sendDatagram } from './index.js';
import { check, native } from './library.js';

const socket = native('int socket(int domain, int type, int protocol)');
const bind = native('int bind(int fd, const void *address, unsigned int length)');
const AF_UNIX = 1;
const SOCK_DGRAM_NONBLOCK = 2 | 0o4000;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-linux-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function receiver(name: string): number {
  const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(name)]);
  const fd = check(socket(AF_UNIX, SOCK_DGRAM_NONBLOCK, 0), 'socket');
  check(bind(fd, address, address.length), 'bind');
  return fd;
}

test.each([
  ['a path', () => [join(folder, 's'), `${join(folder, 's')}\0`]],
  ['an abstract name', () => [`@layerfs-test-${process.pid}`, `\0layerfs-test-${process.pid}`]],
])('a datagram reaches %s', (_, names) => {
  const [path, bound] = names();
  const fd = receiver(bound);
  try {
    sendDatagram(path, Buffer.from('READY=1\n'));
    const buffer = Buffer.alloc(100);
    const length = readRaw(fd, buffer, 100);
    expect(buffer.subarray(0, length).toString()).toBe('READY=1\n');
  } finally {
    close(fd);
  }
});

test('a datagram for nobody is an error', () => {
  expect(() => sendDatagram(join(folder, 'none'), Buffer.from('x'))).toThrow('ENOENT');
  expect(() => sendDatagram('x'.repeat(200), Buffer.from('x'))).toThrow('ENAMETOOLONG');
});
