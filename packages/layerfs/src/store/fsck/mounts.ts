/** The entries of mounts, as a check sees them: docs/mount.md, "The registry". */
import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { isDigest, type ChainID, type DiffID } from '../../core/digest.js';
import { isErrno } from '../errors.js';
import { kernelMountLives, type KernelMark } from '../kernel-mounts.js';
import type { StorePaths } from '../paths.js';
import type { Finding } from './problem.js';

/** What a living mount needs. */
export interface LivingMount {
  readonly mountpoint: string;
  readonly chainID: ChainID;
  readonly layers: readonly DiffID[];
}

/** What the entries say. */
export interface MountEntries {
  readonly living: readonly LivingMount[];
  /** An entry of a living mount cannot be read: then nothing may be removed. */
  readonly unknown: boolean;
  readonly findings: readonly Finding[];
}

const ENTRY = /^[0-9a-f]{16}\.json$/;
const LOG = /^[0-9a-f]{16}\.log$/;
const TEMPORARY = /^[0-9a-f]{16}\.json\.tmp$/;
/** What a kernel mount stands on, and where it is while it is being made. */
const KERNEL = /^([0-9a-f]{16})\.(?:erofs|lower)$/;

/** Reads the entries of all mounts. An entry lives while its server holds a lock on it. */
export function readMountEntries(paths: StorePaths): MountEntries {
  const living: LivingMount[] = [];
  const findings: Finding[] = [];
  let unknown = false;
  for (const name of readdirSync(paths.mounts)) {
    const path = `mounts/${name}`;
    if (LOG.test(name)) continue;
    const kernel = KERNEL.exec(name)?.[1];
    if (kernel !== undefined) {
      if (!existsSync(join(paths.mounts, `${kernel}.json`)) && !existsSync(join(paths.mounts, `${kernel}.json.tmp`)))
        findings.push({ kind: 'leftover', path, expected: `the entry ${kernel}.json`, found: 'none' });
      continue;
    }
    if (!ENTRY.test(name) && !TEMPORARY.test(name)) {
      findings.push({ kind: 'foreign-file', path, expected: 'nothing of this name', found: 'a file' });
      continue;
    }
    const state = readEntry(paths.mounts, name);
    if (state === undefined || (state.alive && TEMPORARY.test(name))) continue;
    if (!state.alive && TEMPORARY.test(name)) {
      findings.push({ kind: 'leftover', path, expected: 'a server that is writing it', found: 'no such process' });
    } else if (!state.alive) {
      const where = mountpointIn(state.text);
      const found = where === undefined ? 'no such process' : `the server of ${where} is gone`;
      findings.push({ kind: 'stale-mount', path, expected: 'a server that holds it', found });
    } else {
      const mount = parseEntry(state.text);
      if (mount !== undefined) living.push(mount);
      else {
        unknown = true;
        findings.push({
          kind: 'mount-entry-damaged',
          path,
          expected: 'JSON as in docs/mount.md',
          found: 'other bytes',
        });
      }
    }
  }
  return { living, unknown, findings };
}

function readEntry(folder: string, name: string): { alive: boolean; text: string } | undefined {
  let fd: number;
  try {
    fd = openSync(join(folder, name), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    // Unmounted since it was listed.
    if (isErrno(error, 'ENOENT')) return undefined;
    if (isErrno(error, 'ELOOP')) return { alive: false, text: '' };
    throw error;
  }
  try {
    const held = !tryFlock(fd, LOCK.SH);
    const text = readFileSync(fd, 'utf8');
    return { alive: held || isServedByKernel(folder, name, text), text };
  } finally {
    closeSync(fd);
  }
}

function isServedByKernel(folder: string, name: string, text: string): boolean {
  const mark = entryOf(text)?.['kernel'] as KernelMark | undefined;
  return typeof mark === 'object' && mark !== null && kernelMountLives(folder, name.replace(/\.json.*$/, ''), mark);
}

function parseEntry(text: string): LivingMount | undefined {
  const entry = entryOf(text);
  if (entry === undefined) return undefined;
  const { mountpoint, chainID, layers } = entry;
  if (typeof mountpoint !== 'string' || typeof chainID !== 'string' || !isDigest(chainID)) return undefined;
  if (!Array.isArray(layers) || !layers.every((layer) => typeof layer === 'string' && isDigest(layer)))
    return undefined;
  return { mountpoint, chainID: chainID as ChainID, layers: layers as DiffID[] };
}

/** Where an entry says that its mount is. */
export function mountpointIn(text: string): string | undefined {
  const mountpoint = entryOf(text)?.['mountpoint'];
  return typeof mountpoint === 'string' ? mountpoint : undefined;
}

function entryOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
