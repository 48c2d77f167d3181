/** Writes the layers of all work folders: as plain folders for overlayfs, and as an image for layerfs. */
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { AT_FDCWD, fchownat, makedev, mknodat, setXattr, utimensat } from '@layerfs/linux';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { Layout, machine } from '../../images/oci.js';
import { tarEntry, tarOf, type TarEntry } from '../../images/tar.js';
import { LAYERS, type LowerEntry } from './entries.js';

const MTIME = 1_100_000_000;

/** Work folders of a mount, and one more that several processes share. */
export const WORK_FOLDERS = 50;
export const SHARED = 'shared';

export function workFolder(index: number): string {
  return `w${String(index)}`;
}

function allWorkFolders(): string[] {
  return [...Array.from({ length: WORK_FOLDERS }, (_, index) => workFolder(index)), SHARED];
}

/** Zeros become holes. */
function writeSparse(path: Buffer, data: Uint8Array): void {
  const fd = openSync(path, 'wx');
  const zeros = Buffer.alloc(4096);
  for (let at = 0; at < data.length; at += 4096) {
    const part = data.subarray(at, at + 4096);
    if (!zeros.subarray(0, part.length).equals(part)) writeSync(fd, part, 0, part.length, at);
  }
  ftruncateSync(fd, data.length);
  closeSync(fd);
}

function writeEntry(root: string, work: string, entry: LowerEntry): void {
  const at = (path: string): Buffer =>
    Buffer.from(path === '' ? `${root}/${work}` : `${root}/${work}/${path}`, 'latin1');
  const path = at(entry.path);
  switch (entry.type) {
    case 'folder':
      mkdirSync(path);
      break;
    case 'file':
      writeSparse(path, entry.data ?? new Uint8Array());
      break;
    case 'symlink':
      symlinkSync(Buffer.from(entry.target ?? '', 'latin1'), path);
      break;
    case 'hardlink':
      linkSync(at(entry.target ?? ''), path);
      return;
    case 'fifo':
      mknodat(AT_FDCWD, path, 0o010600);
      break;
    case 'char':
      mknodat(AT_FDCWD, path, 0o020600, makedev(...(entry.device ?? [1, 3])));
      break;
    case 'whiteout':
      mknodat(AT_FDCWD, path, 0o020000, makedev(0, 0));
      return;
    case 'opaque':
      setXattr(path, `${hasMachineIds() ? 'trusted' : 'user'}.overlay.opaque`, Buffer.from('y'));
      return;
  }
  lchownSync(path, entry.uid ?? 0, entry.gid ?? 0);
  if (entry.type !== 'symlink') chmodSync(path, entry.mode ?? 0o644);
  for (const [name, value] of Object.entries(entry.xattrs ?? {})) setXattr(path, name, value);
}

/** One folder for each layer, topmost first, as the option `lowerdir` wants them. */
export function writeLowerFolders(folder: string): string[] {
  const roots = LAYERS.map((layer, index) => {
    const root = join(folder, `l${String(index)}`);
    mkdirSync(root, { recursive: true });
    fchownat(AT_FDCWD, root, 0, 0);
    for (const work of allWorkFolders()) {
      for (const entry of layer) writeEntry(root, work, entry);
      // Times last, and folders after what is in them.
      for (const entry of layer.toReversed()) {
        const time = { sec: entry.mtime ?? MTIME, nsec: 0 };
        const path = entry.path === '' ? `${root}/${work}` : `${root}/${work}/${entry.path}`;
        utimensat(AT_FDCWD, Buffer.from(path, 'latin1'), time, time);
      }
    }
    utimensat(AT_FDCWD, root, { sec: MTIME, nsec: 0 }, { sec: MTIME, nsec: 0 });
    return root;
  });
  return roots.toReversed();
}

const TYPE_FLAGS = { folder: '5', file: '0', symlink: '2', hardlink: '1', fifo: '6', char: '3' } as const;

function toTar(work: string, entry: LowerEntry): TarEntry {
  const path = entry.path === '' ? work : `${work}/${entry.path}`;
  if (entry.type === 'opaque') return { name: `${path}/.wh..wh..opq`, mtime: MTIME };
  if (entry.type === 'whiteout') return { name: path.replace(/([^/]*)$/s, '.wh.$1'), mtime: MTIME };
  const target = entry.type === 'hardlink' ? `${work}/${entry.target ?? ''}` : entry.target;
  return {
    name: entry.type === 'folder' ? `${path}/` : path,
    type: TYPE_FLAGS[entry.type],
    mode: entry.mode ?? 0o644,
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    mtime: entry.mtime ?? MTIME,
    ...(target === undefined ? {} : { linkname: target }),
    ...(entry.data === undefined ? {} : { data: entry.data }),
    ...(entry.device === undefined ? {} : { major: entry.device[0], minor: entry.device[1] }),
    ...(entry.xattrs === undefined ? {} : { xattrs: entry.xattrs }),
  };
}

/** An OCI layout with one image of the same layers. */
export async function writeLayout(folder: string): Promise<void> {
  const layout = await Layout.create(folder);
  const layers = [];
  for (const layer of LAYERS) {
    const root: TarEntry = { name: './', mode: 0o755, mtime: MTIME };
    const tar = tarOf(root, ...allWorkFolders().flatMap((work) => layer.map((entry) => tarEntry(toTar(work, entry)))));
    layers.push(await layout.addLayer(Readable.from([tar]), 'plain'));
  }
  layout.tag(await layout.addImage(layers, machine()), 'union-diff:latest');
  await layout.finish();
}
