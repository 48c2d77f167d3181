/** What {@link mountKernel} and its rootless sister need. */
export interface MountOptions {
  readonly mountpoint: string;
  /** Shown as the source in /proc/mounts. */
  readonly fsname: string;
  /** The type is shown as `fuse.SUBTYPE`. */
  readonly subtype: string;
  readonly readOnly?: boolean;
  /** Users other than the one who mounts may enter. Rootless: needs `user_allow_other` in /etc/fuse.conf. */
  readonly allowOther?: boolean;
  /** The kernel checks access by mode and owner; the file system need not. */
  readonly defaultPermissions?: boolean;
  readonly noSetuid?: boolean;
  readonly noDevices?: boolean;
  readonly noExec?: boolean;
  readonly noAtime?: boolean;
  /** Mode of the root inode with its type; a folder unless told. */
  readonly rootMode?: number;
}
