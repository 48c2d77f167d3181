import type { ChainID, DiffID } from '../../core/digest.js';
import { printable } from '../../core/bytes.js';
import type { LayerEntry } from '../../core/overlay/entry.js';
import { upperEntries } from '../../core/overlay/upper-entries.js';
import { TreeBuilder } from '../../core/tree/builder.js';
import { Tree } from '../../core/tree/tree.js';
import type { StoreContext } from '../context.js';
import { ensureChain, openTree } from '../trees.js';
import { openUpper } from './disk-upper.js';
import { layerTar } from './layer-tar.js';

/** Layers on each other, named by all of them. */
export interface Stack {
  readonly chainID: ChainID;
  /** Base first. */
  readonly diffIDs: readonly DiffID[];
}

/** What to do while {@link upperTar} reads. */
export interface UpperTarOptions {
  /** Told of what no layer can hold. */
  readonly onNote?: (note: string) => void;
  /** Sees all entries pass. */
  readonly through?: (entries: Iterable<LayerEntry>) => Iterable<LayerEntry>;
  /** See {@link openUpper}. */
  readonly privileged?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * The tar of what an upper folder changes.
 * @param below what it stands on; undefined: on nothing
 * @throws LayerfsError corrupt naming the path of what no union writes
 */
export async function* upperTar(
  context: StoreContext,
  below: Stack | undefined,
  folder: string,
  { onNote, through = (entries) => entries, privileged, signal }: UpperTarOptions,
): AsyncGenerator<Uint8Array> {
  const { tree, unmap } = below === undefined ? nothing(context) : await merged(context, below, signal);
  try {
    const upper = openUpper(folder, privileged);
    try {
      const onSocket = (path: string): void =>
        onNote?.(`socket ${printable(path)} left out: a socket has no meaning without its server`);
      yield* layerTar(through(upperEntries(tree, upper, { onSocket, forLayer: true })), context.paths, signal);
    } finally {
      upper.close();
    }
  } finally {
    unmap();
  }
}

async function merged(context: StoreContext, { chainID, diffIDs }: Stack, signal: AbortSignal | undefined) {
  return openTree(await context.lock.shared(signal, () => ensureChain(context, chainID, diffIDs)), context.xxhash);
}

function nothing({ xxhash }: StoreContext): { tree: Tree; unmap: () => void } {
  return { tree: Tree.open(new TreeBuilder().finish({ layers: [], hash: xxhash })), unmap: () => undefined };
}
