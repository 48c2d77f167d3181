import { mkdirSync, mkdtempSync, readFileSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ErrnoError, MNT, umount2 } from '@layerfs/linux';
import { hexBytes } from '../../core/bytes.js';
import { ErofsImage } from '../../core/erofs/image.js';
import { TreeBuilder } from '../../core/tree/builder.js';
import { ROOT, S_IFREG } from '../../core/tree/format.js';
import { Tree } from '../../core/tree/tree.js';
import { mountErofs } from '../kernel/erofs-mount.js';
import { mountOverlay } from '../kernel/overlay-mount.js';
import { withoutKernelMounts, type Check } from './check.js';

const NAME = 'Kernel mounts';
const DIGEST = '5a'.repeat(32);

/**
 * Mounts a tiny image by the kernel for a moment and reads its file.
 * @param folder an existing folder on the filesystem to try, writable
 * @param fuse whether FUSE can be mounted, which is what is used where the kernel refuses
 */
export function tryKernelMount(folder: string, fuse = true): Check {
  if (process.geteuid?.() !== 0) {
    return { name: NAME, ok: 'warn', detail: 'Not for users without root.', use: withoutKernelMounts(fuse) };
  }
  const place = mkdtempSync(join(folder, '.doctor-'));
  // The overlay's own place is outside: the store may be where nothing can be mounted.
  const mountpoint = mkdtempSync(join(tmpdir(), 'layerfs-doctor-'));
  try {
    const backing = tryOn(place, mountpoint);
    return {
      name: NAME,
      ok: true,
      detail: `Tried: EROFS from a ${backing === 'file' ? 'file' : 'loop device'} under overlayfs works.`,
      use: '--mount-mode kernel and auto, and the snapshotter, mount without a serving process.',
    };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (!(error instanceof Error) || code === undefined) throw error;
    return {
      name: NAME,
      ok: 'warn',
      detail: `Tried and refused: ${error.message}.`,
      use: withoutKernelMounts(fuse),
      hint: 'They need Linux 6.5, EROFS and overlayfs.',
    };
  } finally {
    rmSync(place, { recursive: true });
    rmdirSync(mountpoint);
  }
}

function tryOn(place: string, mountpoint: string): 'file' | 'loop' {
  const objects = join(place, 'objects');
  const lower = join(place, 'lower');
  const image = join(place, 'erofs');
  mkdirSync(lower);
  mkdirSync(join(objects, DIGEST.slice(0, 2)), { recursive: true });
  writeFileSync(join(objects, DIGEST.slice(0, 2), DIGEST.slice(2)), 'ok');
  writeFileSync(image, Buffer.concat([...new ErofsImage(tinyTree()).write()]));
  const backing = mountErofs(image, lower);
  try {
    mountOverlay({ source: 'layerfs-doctor', lower, objects, mountpoint, allowDevices: false, allowSetuid: false });
    try {
      if (readFileSync(join(mountpoint, 'file'), 'latin1') !== 'ok') throw new ErrnoError(5, 'read');
    } finally {
      umount2(mountpoint, MNT.DETACH | MNT.NOFOLLOW);
    }
  } finally {
    umount2(lower, MNT.DETACH | MNT.NOFOLLOW);
  }
  return backing;
}

function tinyTree(): Tree {
  const builder = new TreeBuilder();
  const file = builder.addInode({ mode: S_IFREG | 0o444, uid: 0, gid: 0, mtimeSec: 0 });
  builder.setContent(file, builder.addObject(hexBytes(DIGEST)), 2);
  builder.link(ROOT, 'file', file);
  // It is never verified.
  const hash = { create64: () => ({ update: () => undefined, digest: () => 0n }) };
  return Tree.open(builder.finish({ layers: [new Uint8Array(32)], hash }));
}
