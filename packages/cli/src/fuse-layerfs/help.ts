/** What `-h` prints. */
export function helpText(program: string): string {
  return `usage: ${program} [options] [source] <mountpoint>

Mounts a union of folders, with the command line of fuse-overlayfs.

    -h   --help            print help
    -V   --version         print version
    -f                     foreground operation
    -d   --debug           foreground operation, with a line for each request
    -o OPTION[,OPTION...]  mount options; \\ before a comma or colon takes its meaning away

Folders:
    lowerdir=DIR[:DIR...]  read-only, topmost first; must not change while mounted
    upperdir=DIR           where changes go; without it the mount is read-only
    workdir=DIR            an empty folder beside upperdir, on the same filesystem

Owners:
    uidmapping=A:B:N[:A:B:N...]  show N users from A (on disk) as from B
    gidmapping=A:B:N[:A:B:N...]  the same for groups
    squash_to_root         show all files as root's
    squash_to_uid=UID      show all files as of this user
    squash_to_gid=GID      show all files as of this group
    xattr_permissions=0|1|2  keep owners and modes in attributes

Behaviour:
    fsync=0, volatile      leave it to the kernel when data reaches the disk
    timeout=SECONDS        how long the kernel may trust names and attributes
    noxattrs=1             no extended attributes
    noacl                  no access control lists
    static_nlink           the link count of folders is 1
    xino=off|auto|on       accepted; inode numbers are stable anyway
    context=LABEL          SELinux label of all files
    threaded, fast_ino, writeback, redirect_dir, index, metacopy, userxattr  accepted

FUSE mount options:
    ro, rw, suid, nosuid, dev, nodev, exec, noexec, atime, noatime, allow_other, allow_root,
    default_permissions, auto_unmount, fsname=NAME, subtype=NAME, max_read=BYTES
`;
}

/**
 * What `-V` prints. `podman info` calls it with `--version` and shows all of it.
 * @param protocol of FUSE, `7.45`
 */
export function versionText(version: string, protocol: string): string {
  return `fuse-layerfs: version ${version}
using the options of fuse-overlayfs 1.10
using FUSE kernel interface version ${protocol}
`;
}
