import { closeSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootId } from '../../store/kernel-mounts.js';
import { listMounts } from './mounts.js';
import { RegistryEntry, processStart, readRegistry, registryFolder, type MountInfo } from './registry.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layerfs-registry-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function info(id: string): MountInfo {
  return {
    id,
    mountpoint: `/nowhere/${id}`,
    ref: 'debian:latest',
    image: 'sha256:1',
    chainID: 'sha256:2',
    layers: ['sha256:3'],
    pid: process.pid,
    pidStart: processStart(process.pid),
    since: new Date(0).toISOString(),
    passthrough: true,
    passthroughReason: 'yes',
    transport: 'kernel',
    options: { allowOther: true, allowDevices: false, allowSetuid: true },
  };
}

describe('the registry', () => {
  it('shows an entry as alive exactly while its owner holds it', () => {
    const entry = new RegistryEntry(root, 'one');
    entry.publish(info('one'));
    expect(readRegistry(root)).toEqual([{ info: info('one'), alive: true, held: true }]);
    entry.publish({ ...info('one'), passthrough: false });
    expect(readRegistry(root)).toMatchObject([{ info: { passthrough: false }, alive: true }]);
    entry.remove();
    expect(readRegistry(root)).toEqual([]);
    expect(readdirSync(registryFolder(root))).toEqual([]);
  });

  it('sweeps entries of dead owners that left no mount', () => {
    new RegistryEntry(root, 'live').publish(info('live'));
    writeFileSync(join(registryFolder(root), 'dead.json'), JSON.stringify(info('dead')));
    expect(listMounts(root).map((mount) => [mount.id, mount.state])).toEqual([['live', 'ready']]);
    expect(readdirSync(registryFolder(root))).toEqual(['live.json']);
  });

  it('keeps the entry of a kernel mount that is not here as long as somebody has its image open', () => {
    const folder = registryFolder(root);
    new RegistryEntry(root, 'live').publish(info('live'));
    const write = (id: string, boot: string): void => {
      writeFileSync(join(folder, `${id}.erofs`), 'image');
      writeFileSync(join(folder, `${id}.json`), JSON.stringify({ ...info(id), kernel: { boot, backing: 'file' } }));
    };
    write('used', bootId());
    write('unused', bootId());
    write('before', 'another run of the kernel');
    const open = ['used', 'before'].map((id) => openSync(join(folder, `${id}.erofs`), 'r'));
    expect(listMounts(root).map(({ id }) => id)).toEqual(['live']);
    expect(readdirSync(folder)).toEqual(['live.json', 'used.erofs', 'used.json']);
    for (const fd of open) closeSync(fd);
    listMounts(root);
    expect(readdirSync(folder)).toEqual(['live.json']);
  });

  it('passes over what is no entry', () => {
    new RegistryEntry(root, 'live').publish(info('live'));
    for (const [name, text] of [
      ['a.json', '{"half'],
      ['b.json', 'null'],
      ['c.json', '{}'],
      ['d.json.tmp', '{}'],
    ] as const) {
      writeFileSync(join(registryFolder(root), name), text);
    }
    expect(readRegistry(root).map((entry) => entry.info.id)).toEqual(['live']);
  });

  it('is empty for a store that never mounted', () => {
    expect(listMounts(join(root, 'nothing'))).toEqual([]);
  });
});

it('reads the start time behind a command name of any kind', () => {
  const field = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1)?.split(' ')[19];
  expect(processStart(process.pid)).toBe(field);
});
