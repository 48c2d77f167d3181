import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../errors.js';
import { checkFile, OBJECT_MODE, PRIVATE_FOLDER } from './file-claims.js';
import type { JobContext, JobResult } from './jobs.js';
import type { Finding } from './problem.js';

const REST = /^[0-9a-f]{62}$/;
const CHUNK = 1 << 20;

/** Hashes all objects of one folder: an object's name is the sha256 of its content, holes read as zeros. */
export function checkObjects({ root, uid }: JobContext, prefix: string, onBytes: (bytes: number) => void): JobResult {
  const findings: Finding[] = [];
  const folder = `objects/${prefix}`;
  if (checkFile(root, folder, { ...PRIVATE_FOLDER, uid }, findings) === undefined) return { findings, items: 0 };
  let items = 0;
  for (const name of readdirSync(join(root, folder))) {
    if (!REST.test(name)) {
      findings.push({ kind: 'foreign-file', path: `${folder}/${name}`, expected: 'an object', found: 'another name' });
      continue;
    }
    items++;
    findings.push(...checkObject({ root, uid }, prefix + name, onBytes));
  }
  return { findings, items };
}

/** One object. What is not there (any more) is no finding here. */
export function checkObject({ root, uid }: JobContext, hex: string, onBytes: (bytes: number) => void): Finding[] {
  const findings: Finding[] = [];
  const path = `objects/${hex.slice(0, 2)}/${hex.slice(2)}`;
  if (checkFile(root, path, { ...OBJECT_MODE, uid }, findings) === undefined) return findings;
  const hashed = tryHash(root, path, findings, onBytes);
  if (hashed !== undefined && hashed.hex !== hex) {
    findings.push({
      kind: 'object-damaged',
      path,
      expected: `content with sha256 ${hex}`,
      found: `${hashed.hex}, ${hashed.size} bytes`,
    });
  }
  return findings;
}

/** The sha256 and size of a file, or a finding why it cannot be read; undefined also when it is gone. */
export function tryHash(
  root: string,
  path: string,
  findings: Finding[],
  onBytes: (bytes: number) => void,
): { hex: string; size: number } | undefined {
  try {
    return hashFile(join(root, path), onBytes);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    findings.push({ kind: 'unreadable', path, expected: 'a file that can be read', found: (error as Error).message });
    return undefined;
  }
}

let scratch: Buffer | undefined;

/** The sha256 of a file, as 64 hex digits, and how many bytes it has. */
export function hashFile(
  path: string,
  onBytes: (bytes: number) => void = () => undefined,
): { hex: string; size: number } {
  const buffer = (scratch ??= Buffer.allocUnsafe(CHUNK));
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const hash = createHash('sha256');
    let size = 0;
    for (let n = readSync(fd, buffer, 0, CHUNK, 0); n > 0; n = readSync(fd, buffer, 0, CHUNK, size)) {
      hash.update(buffer.subarray(0, n));
      size += n;
      onBytes(n);
    }
    return { hex: hash.digest('hex'), size };
  } finally {
    closeSync(fd);
  }
}
