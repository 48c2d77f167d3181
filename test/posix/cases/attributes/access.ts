import * as sys from '../../harness/calls.js';
import { expectErrno, outcome } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { MEMBER, OTHER, OWNER, asUser, type User } from '../../harness/users.js';
import { strict as assert } from 'node:assert';

export const access = new Family('access');
const { add } = access;
const { F, X, W, R } = sys.ACCESS;

const CLASSES: [string, User, number][] = [
  ['the owner', OWNER, 6],
  ['a member of the group', MEMBER, 3],
  ['others', OTHER, 0],
];

for (const [what, user, shift] of CLASSES) {
  for (const kind of ['file', 'folder'] as const) {
    const prepare = (): void => {
      for (let bits = 0; bits < 8; bits++) {
        // The other two classes get the opposite, to show that they do not count.
        const mode = (0o777 & ~(7 << shift) & ~(0o111 * bits)) | (bits << shift);
        if (kind === 'file') file(`x${String(bits)}`, { owner: OWNER, mode });
        else folder(`x${String(bits)}`, { owner: OWNER, mode });
      }
    };
    add(`answers ${what} by their three bits of a ${kind}`, { root: true, prepare }, () => {
      asUser(user, () => {
        for (let bits = 0; bits < 8; bits++) {
          for (let mask = 0; mask < 8; mask++) {
            const wanted = (bits & mask) === mask ? undefined : 'EACCES';
            assert.equal(
              outcome(() => sys.access(`x${String(bits)}`, mask)),
              wanted,
              `${String(mask)} of ${String(bits)}`,
            );
          }
        }
      });
    });
  }
}

add(
  'lets root do all but execute what nobody may',
  {
    root: true,
    prepare: () => {
      file('x', { owner: OWNER, mode: 0 });
      file('run', { owner: OWNER, mode: 0o010 });
      folder('d', { owner: OWNER, mode: 0 });
    },
  },
  () => {
    sys.access('x', F | R | W);
    expectErrno('EACCES', () => sys.access('x', X));
    sys.access('run', R | W | X);
    sys.access('d', R | W | X);
  },
);

add('knows no modes above 7', { prepare: () => file('x') }, () => {
  expectErrno('EINVAL', () => sys.access('x', 8));
});

add(
  'tells of a link what its target allows',
  { prepare: () => (file('x'), sys.symlink('x', 'l'), sys.symlink('no', 'd')) },
  () => {
    sys.access('l', R);
    expectErrno('ENOENT', () => sys.access('d', F));
    sys.access('d', F, 0x100);
  },
);
