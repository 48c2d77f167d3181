import { chmodSync, lstatSync, readdirSync, rmSync } from 'node:fs';
import { isErrno } from '../errors.js';

/**
 * Removes a folder with all that is in it. Uppers hold folders of any mode, and overlayfs's work folder has none: what
 * cannot be looked into is opened up first.
 */
export function removeFolder(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    if (!isErrno(error, 'EACCES', 'EPERM')) throw error;
    openUp(Buffer.from(path));
    rmSync(path, { recursive: true, force: true });
  }
}

function openUp(folder: Buffer): void {
  chmodSync(folder, 0o700);
  for (const name of readdirSync(folder, { encoding: 'buffer' })) {
    const path = Buffer.concat([folder, Buffer.from('/'), name]);
    if (lstatSync(path).isDirectory()) openUp(path);
  }
}
