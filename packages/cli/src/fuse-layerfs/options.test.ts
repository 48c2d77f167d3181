import { describe, expect, it } from 'vitest';
import { helpText, versionText } from './help.js';
import { parseCommandLine, type CommandLine, type FuseLayerfsOptions } from './options.js';
import { splitOptions, unescaped } from './split.js';

function parsed(...args: string[]): FuseLayerfsOptions & { readonly warnings: readonly string[] } {
  const line = parseCommandLine(args, true);
  if (line.kind !== 'mount') throw new Error(JSON.stringify(line));
  return { ...line.options, warnings: line.warnings };
}

/** With what every command line must have. */
function withOptions(options: string): ReturnType<typeof parsed> {
  return parsed('-o', `lowerdir=/l,${options}`, '/mnt');
}

function errors(...args: string[]): readonly string[] {
  const line: CommandLine = parseCommandLine(args, true);
  return line.kind === 'wrong' ? line.errors : [line.kind];
}

describe('a command line', () => {
  it('as podman writes it', () => {
    const options =
      'lowerdir=/var/lib/containers/storage/overlay/l/AAA:/var/lib/containers/storage/overlay/l/BBB,upperdir=/s/diff,' +
      'workdir=/s/work,nodev,fsync=0,volatile,context="system_u:object_r:container_file_t:s0:c1,c2",' +
      'uidmapping=:0:1000:1:1:100000:65536,gidmapping=:0:1000:1';
    expect(parsed('-o', options, '/s/merged')).toEqual({
      mountpoint: '/s/merged',
      lowerdirs: ['/var/lib/containers/storage/overlay/l/AAA', '/var/lib/containers/storage/overlay/l/BBB'],
      upper: { dir: '/s/diff', work: '/s/work' },
      fsync: false,
      context: 'system_u:object_r:container_file_t:s0:c1,c2',
      uidRanges: [
        { inside: 0, outside: 1000, count: 1 },
        { inside: 1, outside: 100_000, count: 65_536 },
      ],
      gidRanges: [{ inside: 0, outside: 1000, count: 1 }],
      xattrs: true,
      acl: true,
      xattrPermissions: 0,
      staticNlink: false,
      ino32: false,
      xino: 'off',
      foreground: false,
      debug: false,
      mount: {
        readOnly: false,
        suid: true,
        dev: false,
        exec: true,
        atime: false,
        allowOther: true,
        allowRoot: false,
        defaultPermissions: true,
        autoUnmount: false,
      },
      warnings: [],
    });
  });

  it('as mount(8) calls it: the source first, options last, in pieces', () => {
    const line = parsed('overlay', '/mnt', '-o', 'rw,dev,suid,lowerdir=/l', '-oupperdir=/u,workdir=/w,noexec', '-f');
    expect(line).toMatchObject({ mountpoint: '/mnt', upper: { dir: '/u', work: '/w' }, foreground: true });
    expect(line.mount).toMatchObject({ dev: true, suid: true, exec: false, readOnly: false });
  });

  it('is read-only without upperdir, or when it says so', () => {
    expect(withOptions('nodev').mount.readOnly).toBe(true);
    expect(withOptions('rw').mount.readOnly).toBe(true);
    expect(withOptions('upperdir=/u,workdir=/w,ro').mount.readOnly).toBe(true);
    expect(withOptions('upperdir=/u,workdir=/w').mount.readOnly).toBe(false);
  });

  it('lets nobody else in by default unless root mounts', () => {
    const line = parseCommandLine(['-olowerdir=/l', '/mnt'], false);
    expect(line).toMatchObject({ options: { mount: { allowOther: false, suid: false, defaultPermissions: true } } });
  });

  it.each([
    ['-f', { foreground: true, debug: false }],
    ['-d', { foreground: true, debug: true }],
    ['--debug', { foreground: true, debug: true }],
    ['-odebug', { foreground: true, debug: true }],
    ['-s', { foreground: false, warnings: [] }],
  ])('%s', (arg, expected) => {
    expect(parsed('-o', 'lowerdir=/l', arg, '/mnt')).toMatchObject(expected);
  });

  it.each([
    ['-h', 'help'],
    ['--help', 'help'],
    ['-V', 'version'],
    ['--version', 'version'],
  ])('%s needs nothing else', (arg, kind) => {
    expect(parseCommandLine(['-o', 'bogus', arg], false)).toEqual({ kind });
  });

  it.each([
    ['upperdir=/u,workdir=/w,fsync=0', { fsync: false }],
    ['fsync=1', { fsync: true }],
    ['timeout=1.5', { timeout: 1.5 }],
    ['timeout=0', { timeout: 0 }],
    ['squash_to_root', { squashUid: 0, squashGid: 0 }],
    ['squash_to_root,squash_to_uid=5', { squashUid: 5, squashGid: 0 }],
    ['squash_to_gid=7', { squashGid: 7 }],
    ['noxattrs=1', { xattrs: false }],
    ['noxattrs=0', { xattrs: true }],
    ['noacl', { acl: false }],
    ['xattr_permissions=2', { xattrPermissions: 2 }],
    ['static_nlink,ino32_t', { staticNlink: true, ino32: true }],
    ['xino=on', { xino: 'on' }],
    ['redirect_dir=off', { redirectDir: 'off' }],
    ['threaded=1,fast_ino=1,writeback=0,metacopy=on,index=off,userxattr,lazytime,x-gvfs-hide', { warnings: [] }],
    ['bogus,what=ever', { warnings: ['unknown argument ignored: bogus', 'unknown argument ignored: what=ever'] }],
  ])('-o %s', (options, expected) => {
    expect(withOptions(options)).toMatchObject(expected);
  });

  it('keeps what the mount table shall say', () => {
    const { mount } = withOptions('fsname=a\\,b,subtype=x,max_read=65536,allow_root,auto_unmount,atime,nosuid');
    expect(mount).toMatchObject({
      fsname: 'a,b',
      subtype: 'x',
      maxRead: 65_536,
      allowRoot: true,
      autoUnmount: true,
      atime: true,
      suid: false,
    });
  });

  it('reports all that is wrong at once', () => {
    expect(
      errors('-o', 'timeout=x,xino=maybe,uidmapping=1:2,squash_to_uid=-1,fsync=yes,upperdir=/u,xattr_permissions=3'),
    ).toEqual([
      'timeout=x: not a number of seconds',
      'xino=maybe: not one of off, auto, on',
      'uidmapping=1:2: is not a list of inside:outside:count',
      'squash_to_uid=-1: not a number',
      'fsync=yes: not a number',
      'xattr_permissions=3: not a number from 0 to 2',
      'no mountpoint specified',
      'lowerdir: not specified',
      'workdir: not specified, but upperdir is',
    ]);
    expect(errors('-o')).toContain('-o: options are missing');
    expect(errors('-olowerdir=/l', 'a', 'b', 'c')).toEqual(['too many arguments: a b']);
    expect(errors('-olowerdir=/l,upperdir=,workdir=/w', '/m')).toEqual(['upperdir=: a folder is missing']);
    expect(errors('-olowerdir=/l,noacl=x,ro=1', '/m')).toEqual(['noacl=x: not a number', 'ro=1: takes no value']);
  });

  it('reports and ignores arguments that it does not know, and takes all behind -- for names', () => {
    expect(parsed('--bogus', '-x', '-olowerdir=/l', '--', '-mnt')).toMatchObject({
      mountpoint: '-mnt',
      warnings: ['unknown argument ignored: --bogus', 'unknown argument ignored: -x'],
    });
  });
});

describe('escapes', () => {
  it('take the meaning of commas, colons and backslashes away', () => {
    const { lowerdirs, upper } = withOptions('lowerdir=/a\\:b:/c\\,d:/e\\\\:/f,upperdir=/u\\:x,workdir=/w\\,y');
    expect(lowerdirs).toEqual(['/a:b', '/c,d', '/e\\', '/f']);
    expect(upper).toEqual({ dir: '/u:x', work: '/w,y' });
  });

  it('leave out empty pieces and keep a lone backslash at the end', () => {
    expect(splitOptions(',a,,b\\', ',')).toEqual(['a', 'b\\']);
    expect(unescaped('a\\')).toBe('a\\');
  });
});

it('help names the program and every kind of option; the version is found in the line of its name', () => {
  expect(helpText('/usr/bin/fuse-layerfs')).toMatch(
    /^usage: \/usr\/bin\/fuse-layerfs \[options\] \[source\] <mountpoint>\n/,
  );
  for (const option of ['lowerdir', 'uidmapping', 'volatile', 'allow_other']) expect(helpText('x')).toContain(option);
  expect(versionText('1.2.3', '7.45')).toMatch(/^fuse-layerfs: version 1\.2\.3\n/);
});
