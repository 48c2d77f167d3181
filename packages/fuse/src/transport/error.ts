/** Why a mount could not be made. */
export type MountErrorCode =
  | 'no-device'
  | 'not-permitted'
  | 'no-helper'
  | 'no-binding'
  | 'no-mountpoint'
  | 'not-a-folder'
  | 'stale'
  | 'helper-failed';

/** A mount could not be made; the message is a sentence for the user. */
export class MountError extends Error {
  override readonly name = 'MountError';
  readonly code: MountErrorCode;

  constructor(code: MountErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
