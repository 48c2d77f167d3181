import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno, type Code } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { TYPES, TYPE_BITS, file, make, type Type } from '../../harness/fixtures.js';

/** Every type onto every type, with every flag; also where only one of the two was there before. */
export const renameMatrix = new Family('rename matrix');
const { add } = renameMatrix;

const KINDS = [...TYPES, 'full folder'] as const;
type Kind = (typeof KINDS)[number];
const FLAGS = [
  ['', 0],
  ['NOREPLACE ', 1],
  ['EXCHANGE ', 2],
] as const;

function typeOf(kind: Kind): Type {
  return kind === 'full folder' ? 'folder' : kind;
}

function makeKind(kind: Kind, name: string): void {
  if (kind === 'file') file(name, { content: `${name} content` });
  else make(typeOf(kind), name);
  if (kind === 'full folder') file(`${name}/inside`, { content: `in ${name}` });
}

/** The errno of a rename, undefined where it succeeds. */
function wanted(source: Kind, target: Kind | 'nothing', flags: number): Code | undefined {
  if (target === 'nothing') return flags === 2 ? 'ENOENT' : undefined;
  if (flags !== 0) return flags === 1 ? 'EEXIST' : undefined;
  if (typeOf(source) === 'folder') {
    if (typeOf(target) !== 'folder') return 'ENOTDIR';
    return target === 'full folder' ? 'ENOTEMPTY' : undefined;
  }
  return typeOf(target) === 'folder' ? 'EISDIR' : undefined;
}

/** `name` is what was made as `kind` under the name `made`, with all that was in it. */
function expectIs(name: string, kind: Kind, made: string, ino: number): void {
  const s = sys.lstat(name);
  assert.deepEqual([s.ino, s.type], [ino, TYPE_BITS[typeOf(kind)]], `what ${name} is`);
  if (kind === 'file') assert.equal(content.readFile(name), `${made} content`);
  if (kind === 'symlink') assert.equal(sys.readlink(name), 'no-such-target');
  if (typeOf(kind) === 'folder') assert.deepEqual(sys.names(name), kind === 'full folder' ? ['inside'] : []);
  if (kind === 'full folder') assert.equal(content.readFile(`${name}/inside`), `in ${made}`);
}

function renameAndLook(source: Kind, target: Kind | 'nothing', flags: number): void {
  const { ino } = sys.lstat('source');
  const targetIno = target === 'nothing' ? 0 : sys.lstat('target').ino;
  const code = wanted(source, target, flags);
  if (code !== undefined) {
    expectErrno(code === 'ENOTEMPTY' ? ['ENOTEMPTY', 'EEXIST'] : code, () => sys.rename('source', 'target', flags));
    expectIs('source', source, 'source', ino);
    if (target !== 'nothing') expectIs('target', target, 'target', targetIno);
    return;
  }
  sys.rename('source', 'target', flags);
  expectIs('target', source, 'source', ino);
  if (flags === 2 && target !== 'nothing') expectIs('source', target, 'target', targetIno);
  else expectErrno('ENOENT', () => sys.lstat('source'));
  assert.deepEqual(sys.names(), flags === 2 ? ['source', 'target'] : ['target']);
}

for (const [flagName, flags] of FLAGS) {
  for (const source of KINDS) {
    for (const target of [...KINDS, 'nothing'] as const) {
      const what = `${flagName}${source} onto ${target}`;
      const makeTarget = (): void => {
        if (target !== 'nothing') makeKind(target, 'target');
      };
      add(what, { root: true, prepare: () => (makeKind(source, 'source'), makeTarget()) }, () =>
        renameAndLook(source, target, flags),
      );
      if (target === 'nothing' || flags === 1) continue;
      add(`${what}, which is new`, { root: true, prepare: () => makeKind(source, 'source') }, () => {
        makeTarget();
        renameAndLook(source, target, flags);
      });
      add(`new ${what}`, { root: true, prepare: makeTarget }, () => {
        makeKind(source, 'source');
        renameAndLook(source, target, flags);
      });
    }
  }
}
