import { LayerfsError } from '../core/error.js';
import { codeOf } from '../records/record-file.js';

const FULL = new Set(['ENOSPC', 'EDQUOT']);
const DENIED = new Set(['EACCES', 'EPERM', 'EROFS']);
/**
 * The one place where whatever a store operation threw becomes a {@link LayerfsError}.
 * @param doing what was being done, for the message
 */
export function storeError(error: unknown, doing: string, root: string): LayerfsError {
  if (error instanceof LayerfsError) return error;
  // A DOMException's code is a number.
  const given: unknown = codeOf(error) ?? (error as NodeJS.ErrnoException | undefined)?.code;
  const code = typeof given === 'string' ? given : '';
  const text = error instanceof Error ? error.message : String(error);
  if (FULL.has(code) || /No space left on device/.test(text)) {
    return new LayerfsError('resource-exhausted', `${doing}: no space left on the disk of the store ${root}`, {
      cause: error,
    });
  }
  if (code === 'ABORT_ERR' || (error instanceof Error && error.name === 'AbortError'))
    return new LayerfsError('aborted', `${doing}: interrupted`, { cause: error });
  if (code === 'damaged')
    return new LayerfsError('corrupt', `${doing}: the records of the store ${root} are damaged: ${text}`, {
      cause: error,
    });
  if (DENIED.has(code)) return new LayerfsError('permission-denied', `${doing}: ${text}`, { cause: error });
  if (code === 'ENOENT') return new LayerfsError('not-found', `${doing}: ${text}`, { cause: error });
  if (code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM') {
    return new LayerfsError('resource-exhausted', `${doing}: ${text}`, { cause: error });
  }
  if (code.startsWith('E') && !code.startsWith('ERR_')) {
    return new LayerfsError('unavailable', `${doing}: ${text}`, { cause: error });
  }
  return new LayerfsError('internal', `${doing}: ${text}`, { cause: error });
}

/** Whether an error is a system error with one of these codes. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}

/** @throws LayerfsError aborted once the signal has fired */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted');
}
