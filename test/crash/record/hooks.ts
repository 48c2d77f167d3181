/**
 * Preloaded (`--import`) by a program whose syncfs(2) a recorder is to know of, as the kernel does not tell it: the module
 * that makes the call is wrapped by one that looks up a name before and another one after it.
 */
import { register } from 'node:module';

const source = `
import { existsSync, lstatSync } from 'node:fs';
import { syncfsAsync as real } from 'REAL';
export { syncfs } from 'REAL';
let number = process.pid * 1000;
export async function syncfsAsync(fd) {
  const here = number++;
  const path = '/proc/self/fd/' + fd + '/.sync-';
  // Fails with what the recorder was told to let it fail with.
  try {
    lstatSync(path + 'begin:' + here);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  await real(fd);
  existsSync(path + 'end:' + here);
}`;

const loader = `
export async function load(url, context, next) {
  if (!url.endsWith('/linux/dist/sync.js')) return next(url, context);
  const source = ${JSON.stringify(source)}.replaceAll('REAL', url + '?real');
  return { format: 'module', source, shortCircuit: true };
}`;

register(`data:text/javascript,${encodeURIComponent(loader)}`);
