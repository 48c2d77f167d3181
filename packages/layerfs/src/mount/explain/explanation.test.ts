import xxhash from 'xxhash-wasm';
import { describe, expect, it } from 'vitest';
import { TreeBuilder } from '../../core/tree/builder.js';
import { mergeTrees } from '../../core/tree/merge.js';
import { Tree } from '../../core/tree/tree.js';
import { explainPath, modeText, type Explanation, type Stack } from './explanation.js';

const hash = await xxhash();
const FILE = { mode: 0o100644, uid: 0, gid: 0, mtimeSec: 0 };
const FOLDER = { mode: 0o040755, uid: 0, gid: 0, mtimeSec: 0 };

type Change = (builder: TreeBuilder) => void;

function file(path: string, content: number): Change {
  return (builder) => {
    const ino = builder.addInode(FILE);
    builder.setContent(ino, builder.addObject(new Uint8Array(32).fill(content)), content);
    builder.link(parentOf(builder, path), nameOf(path), ino);
  };
}
function symlink(path: string, target: string): Change {
  return (builder) => {
    const ino = builder.addInode({ ...FILE, mode: 0o120777 });
    builder.setSymlink(ino, target);
    builder.link(parentOf(builder, path), nameOf(path), ino);
  };
}
function folder(path: string, mode = 0o755): Change {
  return (builder) => {
    const ino = parentOf(builder, `${path}/x`);
    builder.setAttributes(ino, { ...FOLDER, mode: 0o040000 | mode });
  };
}
function whiteout(path: string): Change {
  return (builder) => builder.whiteout(parentOf(builder, path), nameOf(path));
}
function opaque(path: string): Change {
  return (builder) => builder.setOpaque(parentOf(builder, `${path}/x`));
}
function nameOf(path: string): string {
  return path.split('/').at(-1) as string;
}
function parentOf(builder: TreeBuilder, path: string): number {
  let at = 1;
  for (const name of path.split('/').slice(0, -1)) {
    let next = builder.find(at, name);
    if (next === 0) {
      next = builder.addInode(FOLDER);
      builder.setImplied(next, true);
      builder.link(at, name, next);
    }
    at = next;
  }
  return at;
}

function stackOf(...layers: Change[][]): Stack {
  const trees = layers.map((changes, index) => {
    const builder = new TreeBuilder();
    for (const change of changes) change(builder);
    return Tree.open(builder.finish({ layers: [new Uint8Array(32).fill(index)], hash }));
  });
  return {
    merged: Tree.open(mergeTrees(trees, { hash })),
    layers: trees.map((tree, index) => ({
      tree,
      diffID: `sha256:${String(index)}`,
      createdBy: `step ${String(index)}`,
    })),
    objects: '/store/objects',
  };
}

function summary(explanation: Explanation): string[] {
  return [
    explanation.shown === undefined
      ? `removed ${String(explanation.removed?.layer.index)} ${String(explanation.removed?.how)}`
      : `shown ${String(explanation.shown.layer.index)} ${explanation.shown.type} ${String(explanation.shown.size)}`,
    ...explanation.hides.map(
      (entry) => `${entry.how} ${String(entry.layer.index)} ${entry.type} ${String(entry.size)}`,
    ),
  ];
}

describe('explainPath', () => {
  it('names the layer, the object and each hidden version', () => {
    const stack = stackOf([file('etc/conf', 1)], [], [file('etc/conf', 3)]);
    const explanation = explainPath(stack, '/etc/conf');
    expect(summary(explanation)).toEqual(['shown 3 file 3', 'replaced 1 file 1']);
    expect(explanation.shown?.layer).toEqual({ index: 3, of: 3, diffID: 'sha256:2', createdBy: 'step 2' });
    expect(explanation.shown?.content).toEqual({
      digest: `sha256:${'03'.repeat(32)}`,
      file: `/store/objects/03/${'03'.repeat(31)}`,
    });
  });

  it('names the layer that removed a path, by itself or with its folder', () => {
    const stack = stackOf([file('a/b', 1)], [whiteout('a/b')], [], [file('a/c', 2)], [whiteout('a')]);
    expect(summary(explainPath(stack, 'a/b'))).toEqual(['removed 5 whiteout', 'whiteout 1 file 1']);
    expect(summary(explainPath(stack, 'a/c'))).toEqual(['removed 5 whiteout', 'whiteout 4 file 2']);
  });

  it('shows what an entry after a whiteout hides as removed by the whiteout', () => {
    const stack = stackOf([file('a', 1)], [whiteout('a')], [file('a', 3)]);
    expect(summary(explainPath(stack, 'a'))).toEqual(['shown 3 file 3', 'replaced 1 file 1']);
  });

  it('tells opaque folders from joined ones', () => {
    const stack = stackOf([folder('d'), file('d/x', 1)], [folder('d', 0o700), opaque('d')], [folder('d', 0o711)]);
    expect(summary(explainPath(stack, 'd'))).toEqual(['shown 3 folder 0', 'merged 2 folder 0', 'opaque 1 folder 0']);
    expect(summary(explainPath(stack, 'd/x'))).toEqual(['removed 2 opaque', 'opaque 1 file 1']);
  });

  it('takes attributes of a folder that a layer only passes through from the layer below', () => {
    const stack = stackOf([folder('d', 0o711)], [file('d/x', 1)]);
    const explanation = explainPath(stack, 'd');
    expect(summary(explanation)).toEqual(['shown 1 folder 0', 'merged 2 folder 0']);
    expect(explanation.shown?.modeText).toBe('drwx--x--x');
  });

  it('sees a file above a folder hide all that is in it', () => {
    const stack = stackOf([file('a/b', 1)], [file('a', 2)]);
    expect(summary(explainPath(stack, 'a'))).toEqual(['shown 2 file 2', 'replaced 1 folder 0']);
    expect(summary(explainPath(stack, 'a/b'))).toEqual(['removed 2 replaced', 'replaced 1 file 1']);
  });

  it('sees a folder above a file', () => {
    const stack = stackOf([file('a', 1)], [file('a/b', 2)]);
    expect(summary(explainPath(stack, 'a'))).toEqual(['shown 2 folder 0', 'replaced 1 file 1']);
  });

  it('follows a hard link to a lower path', () => {
    const stack = stackOf(
      [file('bin/perl', 7)],
      [(builder) => builder.lowerLink(parentOf(builder, 'bin/x'), 'perl5', 'bin/perl')],
      [file('bin/perl5', 9)],
    );
    expect(summary(explainPath(stack, 'bin/perl5'))).toEqual(['shown 3 file 9', 'replaced 2 file 7']);
  });

  it('follows symbolic links on the way, not the last', () => {
    const stack = stackOf([file('usr/bin/sh', 1), symlink('bin', 'usr/bin'), symlink('abs', '/bin/../bin')]);
    expect(explainPath(stack, '/abs/sh').path).toBe('/usr/bin/sh');
    expect(explainPath(stack, '/bin').shown?.target).toBe('usr/bin');
    expect(() => explainPath(stackOf([symlink('a', 'a')]), 'a/b')).toThrow(/Too many symbolic links/);
  });

  it('refuses what no layer ever had', () => {
    expect(() => explainPath(stackOf([file('a', 1)]), 'b')).toThrow(/No layer of this image has \/b/);
  });

  it('explains the root', () => {
    expect(explainPath(stackOf([file('a', 1)]), '/').shown?.type).toBe('folder');
  });
});

it('prints permissions as ls does', () => {
  expect([0o104755, 0o102644, 0o041777, 0o041776, 0o020600].map(modeText)).toEqual([
    '-rwsr-xr-x',
    '-rw-r-Sr--',
    'drwxrwxrwt',
    'drwxrwxrwT',
    'crw-------',
  ]);
});
