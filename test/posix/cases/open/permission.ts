import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno, expectMode, outcome } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { MEMBER, OTHER, OWNER, asUser, type User } from '../../harness/users.js';

export const openPermission = new Family('open, who may');
const { add } = openPermission;
const { O } = sys;

const CLASSES: [string, User, number][] = [
  ['the owner', OWNER, 6],
  ['a member of the group', MEMBER, 3],
  ['others', OTHER, 0],
];

/** Flags, and which of the bits 4 and 2 they need. */
const WAYS: [string, number, number][] = [
  ['O_RDONLY', O.RDONLY, 4],
  ['O_WRONLY', O.WRONLY, 2],
  ['O_RDWR', O.RDWR, 6],
  ['O_WRONLY|O_APPEND', O.WRONLY | O.APPEND, 2],
  ['O_WRONLY|O_CREAT', O.WRONLY | O.CREAT, 2],
  ['O_RDONLY|O_TRUNC', O.RDONLY | O.TRUNC, 6],
  ['O_WRONLY|O_TRUNC', O.WRONLY | O.TRUNC, 2],
  ['O_PATH', O.PATH, 0],
];

for (const [who, user, shift] of CLASSES) {
  const prepare = (): void => {
    for (let bits = 0; bits < 8; bits++) {
      const opposite = 0o777 & ~(7 << shift) & ~(0o111 * bits);
      file(`x${String(bits)}`, { owner: OWNER, mode: opposite | (bits << shift) });
    }
  };
  for (const [way, flags, needs] of WAYS) {
    add(`${way} by ${who} goes by their bits alone`, { root: true, prepare }, () => {
      for (let bits = 0; bits < 8; bits++) {
        const name = `x${String(bits)}`;
        const allowed = (bits & needs) === needs;
        const got = asUser(user, () => outcome(() => sys.withFd(name, flags, () => undefined)));
        assert.equal(got, allowed ? undefined : 'EACCES', `bits ${String(bits)}`);
        assert.equal(sys.stat(name).size, allowed && (flags & O.TRUNC) !== 0 ? 0 : 8, 'size');
      }
    });
  }
  add(
    `of a folder by ${who} needs the read bit`,
    {
      root: true,
      prepare: () => {
        for (let bits = 0; bits < 8; bits++) {
          const opposite = 0o777 & ~(7 << shift) & ~(0o111 * bits);
          folder(`d${String(bits)}`, { owner: OWNER, mode: opposite | (bits << shift) });
        }
      },
    },
    () => {
      for (let bits = 0; bits < 8; bits++) {
        const got = asUser(user, () => outcome(() => sys.readdir(`d${String(bits)}`)));
        assert.equal(got, (bits & 4) === 0 ? 'EACCES' : undefined, `bits ${String(bits)}`);
      }
    },
  );
  add(
    `below a folder by ${who} needs its execute bit, to create also its write bit`,
    {
      root: true,
      prepare: () => {
        for (let bits = 0; bits < 8; bits++) {
          folder(`d${String(bits)}`);
          file(`d${String(bits)}/x`, { mode: 0o666 });
          sys.chown(`d${String(bits)}`, OWNER.uid, OWNER.gid);
          sys.chmod(`d${String(bits)}`, (0o777 & ~(7 << shift) & ~(0o111 * bits)) | (bits << shift));
        }
      },
    },
    () => {
      for (let bits = 0; bits < 8; bits++) {
        const open = (name: string, flags: number): string | undefined =>
          asUser(user, () => outcome(() => sys.withFd(`d${String(bits)}/${name}`, flags, () => undefined)));
        const mayWalk = (bits & 1) !== 0;
        assert.equal(open('x', O.RDWR), mayWalk ? undefined : 'EACCES', `walk, bits ${String(bits)}`);
        assert.equal(open('x', O.RDWR | O.CREAT), mayWalk ? undefined : 'EACCES', `walk, bits ${String(bits)}`);
        assert.equal(open('no', O.RDONLY), mayWalk ? 'ENOENT' : 'EACCES', `walk, bits ${String(bits)}`);
        const mayCreate = mayWalk && (bits & 2) !== 0;
        assert.equal(open('new', O.RDWR | O.CREAT), mayCreate ? undefined : 'EACCES', `create, bits ${String(bits)}`);
        assert.equal(sys.names(`d${String(bits)}`).includes('new'), mayCreate);
      }
    },
  );
}

add(
  'root reads and writes what nobody may',
  { root: true, prepare: () => file('x', { owner: OWNER, mode: 0 }) },
  () => {
    sys.withFd('x', O.RDWR, (fd) => content.write(fd, 'r'));
    assert.equal(content.readFile('x'), 'rontent\n');
    expectMode(sys.stat('x').perm, 0);
  },
);

for (const [name, mode] of [
  ['nothing', 0],
  ['reading', 0o444],
  ['writing', 0o222],
] as [string, number][]) {
  add(`a creator may use the descriptor of a file that allows ${name}`, { root: true }, () => {
    const fd = asUser(OWNER, () => sys.open('x', O.RDWR | O.CREAT | O.EXCL, mode));
    asUser(OWNER, () => {
      content.write(fd, 'written');
      assert.equal(content.pread(fd, 10, 0), 'written');
      content.ftruncate(fd, 3);
    });
    sys.close(fd);
    expectMode(sys.stat('x').perm, mode);
    assert.equal(sys.stat('x').size, 3);
  });
}

add(
  'O_NOATIME is for the owner and root',
  { root: true, prepare: () => file('x', { owner: OWNER, mode: 0o666 }) },
  () => {
    asUser(OTHER, () => expectErrno('EPERM', () => sys.open('x', O.RDONLY | O.NOATIME)));
    asUser(OWNER, () => sys.withFd('x', O.RDONLY | O.NOATIME, (fd) => content.read(fd, 3)));
    sys.withFd('x', O.RDONLY | O.NOATIME, (fd) => content.read(fd, 3));
  },
);

add(
  'a link to what one may not read',
  {
    root: true,
    prepare: () => {
      file('x', { owner: OWNER, mode: 0o600 });
      sys.symlink('x', 'l');
      folder('d', { owner: OWNER, mode: 0o700 });
      file('d/y', { owner: OWNER, mode: 0o666 });
      sys.symlink('d/y', 'm');
    },
  },
  () => {
    asUser(OTHER, () => {
      expectErrno('EACCES', () => sys.open('l', O.RDONLY));
      expectErrno('EACCES', () => sys.open('m', O.RDONLY));
      assert.equal(sys.readlink('m'), 'd/y');
    });
    asUser(OWNER, () => sys.withFd('m', O.RDWR, () => undefined));
  },
);

add(
  'reading goes on with a descriptor that was opened before',
  { root: true, prepare: () => file('x', { mode: 0o666 }) },
  () => {
    const fd = asUser(OTHER, () => sys.open('x', O.RDWR));
    sys.chmod('x', 0o600);
    asUser(OTHER, () => {
      assert.equal(content.read(fd, 7), 'content');
      content.pwrite(fd, 'C', 0);
      expectErrno('EACCES', () => sys.open('x', O.RDONLY));
    });
    sys.close(fd);
    assert.equal(content.readFile('x'), 'Content\n');
  },
);

add(
  'truncate needs the write bit',
  {
    root: true,
    prepare: () => {
      file('r', { owner: OWNER, mode: 0o444 });
      file('w', { owner: OWNER, mode: 0o222 });
    },
  },
  () => {
    for (const user of [OWNER, MEMBER, OTHER]) {
      asUser(user, () => {
        expectErrno('EACCES', () => content.truncate('r', 0));
        content.truncate('w', 5);
      });
    }
    assert.deepEqual([sys.stat('r').size, sys.stat('w').size], [8, 5]);
  },
);
