/**
 * What has to happen in an upper folder when names come, go and move: the rules of the union, as data. They say nothing of
 * how it is done on disk.
 */

/** What upper has at a name. */
export type InUpper = 'nothing' | 'whiteout' | 'file' | 'folder';
/** What the lower has at the same name of the same merged folder, hidden or not. */
export type Below = 'nothing' | 'file' | 'folder';

/** A name of a merged folder. */
export interface NameState {
  readonly upper: InUpper;
  readonly below: Below;
}

/**
 * How a name goes away: `remove` from upper, `whiteout` where upper has nothing, or `replace` what upper has by a
 * whiteout, so that the lower's does not come to light again.
 */
export function planRemove({ upper, below }: NameState): 'remove' | 'whiteout' | 'replace' {
  if (below === 'nothing') return 'remove';
  return upper === 'nothing' ? 'whiteout' : 'replace';
}

/** How a new file comes to a free name. */
export interface MakePlan {
  /** A whiteout is in the way: make it elsewhere and put it in the whiteout's place. */
  readonly overWhiteout: boolean;
  /** A new folder would otherwise be merged with the lower's of that name. */
  readonly opaque: boolean;
}

export function planMake({ upper, below }: NameState, isFolder: boolean): MakePlan {
  return { overWhiteout: upper === 'whiteout', opaque: isFolder && below === 'folder' };
}

/** What moves: it exists in upper. */
export interface Moved {
  readonly isFolder: boolean;
  /** It goes on with something of the lower: a merged folder, or a file whose content is the lower's. */
  readonly continues: boolean;
}

/** How something moves from one name to another. */
export interface MovePlan {
  /** The lower's file of the old name must not come to light. */
  readonly leaveWhiteout: boolean;
  /** It has to say where it came from, for it will not be found by its name. */
  readonly redirect: boolean;
  /** It must not be merged with the lower's folder of the new name. */
  readonly opaque: boolean;
}

export function planMove({ isFolder, continues }: Moved, from: NameState, to: NameState): MovePlan {
  return {
    leaveWhiteout: from.below !== 'nothing',
    redirect: continues,
    opaque: isFolder && !continues && to.below === 'folder',
  };
}
