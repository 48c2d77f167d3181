/**
 * Lines of a shell script that has a mount namespace of its own: copies of what other tests have mounted go, as they would keep those
 * mounts alive when their tests unmount them. What "$1" lies in stays.
 */
export const LEAVE_FOREIGN_MOUNTS = String.raw`
sed -n 's|^[^ ]* \([^ ]*/layerfs-[^ ]*\) .*|\1|p' /proc/self/mounts | tac | while read -r path; do
  case "$1/" in "$path"/*) ;; *) umount -l "$path" 2>/dev/null || true ;; esac
done`;
