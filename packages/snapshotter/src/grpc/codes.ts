import { status } from '@grpc/grpc-js';
import { LayerfsError, type LayerfsErrorCode } from 'layerfs';

const CODES: Readonly<Record<LayerfsErrorCode, status>> = {
  'not-found': status.NOT_FOUND,
  'already-exists': status.ALREADY_EXISTS,
  'invalid-argument': status.INVALID_ARGUMENT,
  'failed-precondition': status.FAILED_PRECONDITION,
  unavailable: status.UNAVAILABLE,
  corrupt: status.DATA_LOSS,
  unimplemented: status.UNIMPLEMENTED,
  'permission-denied': status.PERMISSION_DENIED,
  'resource-exhausted': status.RESOURCE_EXHAUSTED,
  aborted: status.ABORTED,
  internal: status.INTERNAL,
};

/** Details travel in a header. */
const MAX_DETAILS = 2000;

/** An error as gRPC tells it: containerd acts on the code, people read the details. */
export function grpcError(error: unknown): { readonly code: status; readonly details: string } {
  if (error instanceof LayerfsError) return { code: CODES[error.code], details: bounded(error.message) };
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const full = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EMFILE' || code === 'ENFILE';
  const details = bounded(error instanceof Error ? error.message : String(error));
  return { code: full ? status.RESOURCE_EXHAUSTED : status.INTERNAL, details };
}

function bounded(text: string): string {
  return text.length > MAX_DETAILS ? `${text.slice(0, MAX_DETAILS)}…` : text;
}
