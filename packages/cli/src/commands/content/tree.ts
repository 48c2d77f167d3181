import { LayerfsError, modeText, printable, utf8ToLatin1, type Tree } from 'layerfs';
import { withStore, type GlobalOptions } from '../../context.js';
import { shortDigest } from '../../format.js';
import { print, safeJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly layers?: boolean;
  readonly json?: boolean;
}

/** Lines gathered before they are written: a million single writes would take longer than the tree. */
const LINES = 500;

/** `layerfs tree IMAGE [PATH]` */
export async function run(image: string, path: string | undefined, options: Options): Promise<void> {
  await withStore(options, async (store) => {
    const { tree } = await store.tree(image);
    const prefix = utf8ToLatin1(path ?? '').replace(/^\/+|\/+$/g, '');
    if (tree.resolve(prefix) === 0) throw new LayerfsError('not-found', `${image} has no ${path ?? '/'}`);
    let lines: string[] = [];
    const flush = (): void => {
      if (lines.length > 0) print(lines.join('\n'));
      lines = [];
    };
    const add = (name: string, ino: number): void => {
      lines.push(options.json === true ? safeJson(entry(tree, name, ino)) : line(tree, name, ino, options));
      if (lines.length >= LINES) flush();
    };
    if (prefix === '') add('', tree.resolve(''));
    for (const { path: name, ino } of tree.walk()) {
      if (prefix === '' || name === prefix || name.startsWith(`${prefix}/`)) add(name, ino);
    }
    flush();
  });
}

function line(tree: Tree, name: string, ino: number, options: Options): string {
  const mode = tree.mode(ino);
  const target = (mode & 0o170000) === 0o120000 ? ` -> ${printable(tree.symlinkTarget(ino))}` : '';
  const owner = `${tree.uid(ino)}:${tree.gid(ino)}`.padEnd(9);
  const size = String(tree.size(ino)).padStart(10);
  const layer = options.layers === true ? `${shortDigest(tree.layerDigest(tree.layer(ino)))}  ` : '';
  return `${layer}${modeText(mode)} ${owner} ${size} /${printable(name)}${target}`;
}

/** One entry for machines: a JSON object a line. */
function entry(tree: Tree, name: string, ino: number): object {
  const mode = tree.mode(ino);
  const digest = tree.objectDigest(ino);
  return {
    path: `/${printable(name)}`,
    mode: modeText(mode),
    uid: tree.uid(ino),
    gid: tree.gid(ino),
    size: tree.size(ino),
    mtime: tree.mtimeSec(ino) + tree.mtimeNsec(ino) / 1e9,
    ino,
    nlink: tree.nlink(ino),
    layer: tree.layerDigest(tree.layer(ino)),
    ...((mode & 0o170000) === 0o120000 ? { target: printable(tree.symlinkTarget(ino)) } : {}),
    ...(digest === undefined ? {} : { digest: `sha256:${digest}` }),
  };
}
