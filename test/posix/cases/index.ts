/** All cases. */
import type { Case } from '../harness/family.js';
import { access } from './attributes/access.js';
import { chattr } from './attributes/chattr.js';
import { chmod } from './attributes/chmod.js';
import { chown } from './attributes/chown.js';
import { stat } from './attributes/stat.js';
import { timeEffects } from './attributes/time-effects.js';
import { utimens } from './attributes/utimens.js';
import { copy } from './content/copy.js';
import { holes } from './content/holes.js';
import { mmap } from './content/mmap.js';
import { transfer } from './content/transfer.js';
import { truncate } from './content/truncate.js';
import { write } from './content/write.js';
import { create } from './names/create.js';
import { link } from './names/link.js';
import { paths } from './names/paths.js';
import { readdir } from './names/readdir.js';
import { remove } from './names/remove.js';
import { symlink } from './names/symlink.js';
import { openFlags } from './open/flags.js';
import { openPermission } from './open/permission.js';
import { openSpecial } from './open/special.js';
import { locks } from './process/locks.js';
import { mounts } from './process/mounts.js';
import { races } from './process/races.js';
import { runPrograms } from './process/run.js';
import { sockets } from './process/sockets.js';
import { randomContents } from './random/contents.js';
import { randomTrees } from './random/trees.js';
import { renameMatrix } from './rename/matrix.js';
import { renamePermission } from './rename/permission.js';
import { rename } from './rename/rename.js';
import { acl } from './xattr/acl.js';
import { capability } from './xattr/capability.js';
import { xattr } from './xattr/xattr.js';

const families = [
  access,
  chattr,
  chmod,
  chown,
  stat,
  timeEffects,
  utimens,
  copy,
  holes,
  mmap,
  transfer,
  truncate,
  write,
  create,
  link,
  paths,
  readdir,
  remove,
  symlink,
  openFlags,
  openPermission,
  openSpecial,
  locks,
  mounts,
  races,
  runPrograms,
  sockets,
  randomContents,
  randomTrees,
  renameMatrix,
  renamePermission,
  rename,
  acl,
  capability,
  xattr,
];

export const cases: readonly Case[] = families.flatMap((family) => family.cases);
