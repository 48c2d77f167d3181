/** Runs operations on one mount and says what came of each, as text that is equal where filesystems agree. */
import { become } from './native.js';
import { ON_DESCRIPTORS } from './on-descriptors.js';
import { ON_PATHS } from './on-paths.js';
import type { Action, Operation } from './operation.js';
import { errorName, type Side } from './side.js';

/** Does one kind of operation: throws what the system call throws, gives `ok …` when there is data to compare. */
export type Handlers = {
  readonly [K in Action['kind']]: (side: Side, operation: Extract<Action, { kind: K }>) => string | void;
};

const HANDLERS: Handlers = { ...ON_DESCRIPTORS, ...ON_PATHS };

/** `ok`, `ok …` with data, or the name of an error. */
export function execute(side: Side, operation: Operation): string {
  const handler = HANDLERS[operation.kind] as (side: Side, operation: Action) => string | void;
  if (operation.user !== undefined) become(operation.user);
  try {
    return handler(side, operation) ?? 'ok';
  } catch (error) {
    return errorName(error);
  } finally {
    if (operation.user !== undefined) become(0);
  }
}
