import { INIT, Reply, type Caller } from '@layerfs/fuse';
import { errno } from '@layerfs/linux';
import xxhash from 'xxhash-wasm';
import { describe, expect, it } from 'vitest';
import { TreeBuilder } from '../../core/tree/builder.js';
import { Tree } from '../../core/tree/tree.js';
import { LIFETIME, TreeFileSystem } from './tree-filesystem.js';

const hash = await xxhash();
const NODEID_AT = 16;
const HEADER = 16;

function treeOf(fill: (builder: TreeBuilder) => void): Tree {
  const builder = new TreeBuilder();
  fill(builder);
  return Tree.open(builder.finish({ layers: [new Uint8Array(32)], hash }));
}

function addFiles(builder: TreeBuilder, parent: number, ...names: string[]): void {
  for (const name of names) {
    builder.link(parent, name, builder.addInode({ mode: 0o100644, uid: 7, gid: 8, mtimeSec: 9, mtimeNsec: 10 }));
  }
}

const tree = treeOf((builder) => {
  const folder = builder.addInode({ mode: 0o040755, uid: 0, gid: 0, mtimeSec: 0 });
  builder.link(1, 'folder', folder);
  addFiles(builder, folder, 'a', 'bb', 'ccc', '\xff', 'e'.repeat(255));
  const link = builder.addInode({ mode: 0o120777, uid: 0, gid: 0, mtimeSec: 0 });
  builder.setSymlink(link, 'to \xfe');
  builder.link(1, 'link', link);
});
const folder = tree.resolve('folder');

function asker(nodeid: number): Caller {
  return { uid: 0, gid: 0, pid: 1, nodeid, uniqueLow: 1, uniqueHigh: 0 };
}

function answer(fs: TreeFileSystem, ask: (fs: TreeFileSystem, reply: Reply) => void): Reply {
  const reply = new Reply(1 << 17);
  reply.begin(1, 0);
  ask(fs, reply);
  return reply;
}

function serving(of = tree, offered: readonly number[] = []): TreeFileSystem {
  const fs = new TreeFileSystem(of, { passthrough: true, defaultPermissions: true });
  fs.ready({ minor: 45, capabilities: new Set(), offered: new Set(offered), maxWrite: 1 << 20 });
  return fs;
}

function nodeid(of: number, name: string): number {
  return answer(serving(), (fs, reply) => fs.lookup(asker(of), name, reply)).bytes.readUInt32LE(NODEID_AT);
}

/** Names, inode numbers and continuing offsets of a listing's answer. */
function direntsOf(reply: Reply, plus: boolean): { name: string; ino: number; nodeid: number; next: number }[] {
  const bytes = reply.bytes;
  const entries = [];
  for (let at = HEADER; at < reply.length;) {
    const nodeid = plus ? bytes.readUInt32LE(at) : 0;
    if (plus) at += 128;
    const length = bytes.readUInt32LE(at + 16);
    const name = bytes.toString('latin1', at + 24, at + 24 + length);
    entries.push({ name, ino: bytes.readUInt32LE(at), nodeid, next: bytes.readUInt32LE(at + 8) });
    at += (24 + length + 7) & ~7;
  }
  return entries;
}

describe('TreeFileSystem', () => {
  it('finds names, and says for long that there is none', () => {
    const found = answer(serving(), (fs, reply) => fs.lookup(asker(folder), '\xff', reply));
    expect(found.bytes.readUInt32LE(NODEID_AT)).toBe(tree.resolve('folder/\xff'));
    expect(found.lookups).toBe(1);
    expect(found.bytes.readUInt32LE(NODEID_AT + 16)).toBe(LIFETIME);
    const none = answer(serving(), (fs, reply) => fs.lookup(asker(folder), 'none', reply));
    expect([none.bytes.readUInt32LE(NODEID_AT), none.bytes.readUInt32LE(NODEID_AT + 16)]).toEqual([0, LIFETIME]);
  });

  it('finds "." and ".." for file handles', () => {
    expect([nodeid(folder, '.'), nodeid(folder, '..'), nodeid(1, '..')]).toEqual([folder, 1, 1]);
    const file = tree.resolve('folder/a');
    expect(nodeid(file, '.')).toBe(file);
  });

  it('refuses nodeids that are not in the tree, and wrong types', () => {
    for (const unknown of [0, tree.inodeCount + 1, 2 ** 60, -1, 1.5, Number.NaN]) {
      expect(() => answer(serving(), (fs, reply) => fs.getattr(asker(unknown), undefined, reply))).toThrow('ESTALE');
    }
    const file = tree.resolve('folder/a');
    expect(() => answer(serving(), (fs, reply) => fs.readdirplus(asker(file), 0, 0, 4096, reply))).toThrow('ENOTDIR');
    expect(() => answer(serving(), (fs, reply) => fs.readlink(asker(file), reply))).toThrow('EINVAL');
    expect(() => answer(serving(), (fs, reply) => fs.read(asker(folder), 0, 0, 1, reply))).toThrow('EISDIR');
    expect(() => answer(serving(), (fs, reply) => fs.lookup(asker(1), 'n'.repeat(256), reply))).toThrow('ENAMETOOLONG');
  });

  it.each([false, true])('lists a folder in pieces of any size without loss or repetition (plus: %s)', (plus) => {
    const expected = ['.', '..', 'a', 'bb', 'ccc', 'e'.repeat(255), '\xff'];
    for (const size of [plus ? 128 + 280 : 280, 700, 4096]) {
      const seen: string[] = [];
      for (let offset = 0, more = true; more;) {
        const reply = answer(serving(), (fs, into) => {
          if (plus) fs.readdirplus(asker(folder), 0, offset, size, into);
          else fs.readdir(asker(folder), 0, offset, size, into);
        });
        expect(reply.length - HEADER).toBeLessThanOrEqual(size);
        const entries = direntsOf(reply, plus);
        for (const { name, ino, nodeid, next } of entries) {
          seen.push(name);
          offset = next;
          const expectedIno = name === '.' ? folder : name === '..' ? 1 : tree.resolve(`folder/${name}`);
          expect([ino, nodeid]).toEqual([expectedIno, plus && !name.startsWith('.') ? expectedIno : 0]);
        }
        more = entries.length > 0;
      }
      expect(seen).toEqual(expected);
    }
  });

  it('ends a listing that is asked for beyond its end', () => {
    for (const offset of [8, 9, 1000, 2 ** 52]) {
      expect(answer(serving(), (fs, reply) => fs.readdirplus(asker(folder), 0, offset, 4096, reply)).length).toBe(
        HEADER,
      );
    }
  });

  it('gives link targets byte for byte', () => {
    const reply = answer(serving(), (fs, into) => fs.readlink(asker(tree.resolve('link')), into));
    expect(reply.bytes.toString('latin1', HEADER, reply.length)).toBe('to \xfe');
  });

  it('ends OPEN, OPENDIR and GETXATTR for good where that is possible', () => {
    const file = tree.resolve('folder/a');
    const able = [INIT.NO_OPEN_SUPPORT, INIT.NO_OPENDIR_SUPPORT];
    const errors = (offered: readonly number[]): number[] => [
      answer(serving(tree, offered), (fs, reply) => fs.open(asker(file), 0, false, reply)).errno,
      answer(serving(tree, offered), (fs, reply) => fs.opendir(asker(folder), 0, reply)).errno,
      answer(serving(tree, offered), (fs, reply) => fs.getxattr(asker(file), 'user.x', 0, reply)).errno,
    ];
    expect(errors(able)).toEqual([errno.ENOSYS, errno.ENOSYS, errno.ENOSYS]);
    expect(errors([])).toEqual([0, 0, errno.ENOSYS]);
  });

  it('asks for ACLs only when the tree has any', () => {
    const with_ = treeOf((builder) => {
      const xattrs = [['system.posix_acl_access', new Uint8Array(4)]] as const;
      builder.link(1, 'a', builder.addInode({ mode: 0o100644, uid: 0, gid: 0, mtimeSec: 0, xattrs }));
    });
    expect(serving(with_).init.capabilities).toContain(INIT.POSIX_ACL);
    expect(serving().init.capabilities).not.toContain(INIT.POSIX_ACL);
    const file = with_.resolve('a');
    const value = answer(serving(with_), (fs, reply) =>
      fs.getxattr(asker(file), 'system.posix_acl_access', 100, reply),
    );
    expect(value.length).toBe(HEADER + 4);
    expect(() => answer(serving(with_), (fs, reply) => fs.getxattr(asker(file), 'user.x', 100, reply))).toThrow(
      'ENODATA',
    );
  });

  it('refuses to open for writing, and every change', () => {
    const file = tree.resolve('folder/a');
    for (const flags of [1, 2, 0o1000, 0o1001]) {
      expect(() => answer(serving(), (fs, reply) => fs.open(asker(file), flags, false, reply))).toThrow('EROFS');
    }
    const fs = serving();
    const changes = [
      () => fs.setattr(asker(file), {}, new Reply(64)),
      ...(
        [
          'symlink',
          'mknod',
          'mkdir',
          'unlink',
          'rmdir',
          'rename',
          'link',
          'create',
          'tmpfile',
          'write',
          'setxattr',
          'removexattr',
          'fallocate',
          'copyFileRange',
        ] as const
      ).map((name) => () => fs[name]()),
    ];
    for (const change of changes) expect(change).toThrow('EROFS');
  });
});
