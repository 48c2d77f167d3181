/**
 * The one error class of the library, with a closed set of codes (the words are containerd's).
 * Whoever faces a user, a kernel or a gRPC client translates a code once, at that edge.
 */

/** What kind of failure a {@link LayerfsError} is. */
export type LayerfsErrorCode =
  | 'not-found'
  | 'already-exists'
  | 'invalid-argument'
  | 'failed-precondition'
  | 'unavailable'
  | 'corrupt'
  | 'unimplemented'
  | 'permission-denied'
  | 'resource-exhausted'
  | 'aborted'
  | 'internal';

/** An error with a code to act on and a message to show. `cause` is what was caught, if anything was. */
export class LayerfsError extends Error {
  readonly code: LayerfsErrorCode;

  constructor(code: LayerfsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LayerfsError';
    this.code = code;
  }
}
