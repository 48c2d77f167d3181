import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import { compareVersions, type Check } from './check.js';

/** Checks that only look: kernel, Node, device, helper program, limits. */
export function hostChecks(): Check[] {
  return [nodeVersion(), kernelVersion(), fuseDevice(), fusermount(), descriptors(), mountLimit(), ioUring()];
}

function nodeVersion(): Check {
  const version = process.versions.node;
  const name = 'Node.js';
  return compareVersions(version, '20.12') >= 0
    ? { name, ok: true, detail: `${version}.` }
    : { name, ok: false, detail: `${version} is too old.`, hint: 'Install Node.js 20.12 or later.' };
}

function kernelVersion(): Check {
  const name = 'Linux kernel';
  const version = release();
  if (compareVersions(version, '6.9') >= 0) {
    return { name, ok: true, detail: `${version}: has FUSE passthrough (since 6.9).` };
  }
  return {
    name,
    ok: 'warn',
    detail: `${version}: no FUSE passthrough (6.9 brought it), file data goes through this process.`,
    hint: 'Mounts work; reads of large files are slower until the kernel is newer.',
  };
}

function fuseDevice(): Check {
  const name = '/dev/fuse';
  if (!existsSync('/dev/fuse')) {
    return {
      name,
      ok: false,
      detail: 'The device does not exist, so nothing can be mounted with FUSE here.',
      hint: 'Load the module (modprobe fuse), or give the container the device (--device /dev/fuse). `layerfs checkout` works without.',
    };
  }
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return { name, ok: true, detail: 'Can be opened by this user.', use: 'Mounts are served through FUSE.' };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
    return {
      name,
      ok: false,
      detail: `This user may not open it (${message}).`,
      hint: 'As root: chmod 666 /dev/fuse, as most distributions ship it; or run as root.',
    };
  }
}

/** Finds fusermount3 in PATH; undefined when it is not installed. */
export function findFusermount(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return [...folders, '/usr/bin', '/bin'].map((folder) => join(folder, 'fusermount3')).find((file) => existsSync(file));
}

function fusermount(): Check {
  const name = 'fusermount3';
  const root = process.getuid?.() === 0;
  const file = findFusermount();
  const missing = root ? ('warn' as const) : false;
  if (file === undefined) {
    return {
      name,
      ok: missing,
      detail: `Not installed${root ? '; root does not need it' : ', and only root can mount without it'}.`,
      hint: 'Install the package fuse3.',
    };
  }
  const setuid = (statSync(file).mode & 0o4000) !== 0;
  return setuid
    ? { name, ok: true, detail: `${file}, setuid root: users can mount.` }
    : {
        name,
        ok: missing,
        detail: `${file} is not setuid root, so users without rights cannot mount with it.`,
        hint: `As root: chmod u+s ${file}`,
      };
}

function descriptors(): Check {
  const name = 'Open files limit';
  const match = /^Max open files\s+(\S+)\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  const [soft, hard] = [match?.[1] ?? '?', match?.[2] ?? '?'];
  const enough = soft === 'unlimited' || Number(soft) >= 1024;
  return {
    name,
    ok: enough ? true : 'warn',
    detail: `${soft} (hard limit ${hard}).`,
    ...(enough ? {} : { hint: 'A mount keeps some objects open: raise it with ulimit -n 4096.' }),
  };
}

function mountLimit(): Check {
  const name = 'Mounts limit';
  const most = Number(readFileSync('/proc/sys/fs/mount-max', 'utf8'));
  const now = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length - 1;
  const detail = `${now} of ${most} in this mount namespace.`;
  return now < most * 0.9
    ? { name, ok: true, detail }
    : { name, ok: 'warn', detail, hint: 'Raise /proc/sys/fs/mount-max (sysctl fs.mount-max).' };
}

function ioUring(): Check {
  const name = 'FUSE over io_uring';
  const file = '/sys/module/fuse/parameters/enable_uring';
  if (!existsSync(file)) {
    return {
      name,
      ok: 'warn',
      detail: 'Not in this kernel (6.14 brought it).',
      use: 'Nothing: layerfs does not use it yet.',
    };
  }
  const on = readFileSync(file, 'utf8').trim() === 'Y';
  return {
    name,
    ok: true,
    detail: `In this kernel, switched ${on ? 'on' : 'off'}.`,
    use: 'Nothing: layerfs does not use it yet.',
  };
}
