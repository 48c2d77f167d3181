/**
 * The client of registries alone (`layerfs/registry`): for programs that need neither store nor mounts, and need not load them.
 */
export { LayerfsError, type LayerfsErrorCode } from '../core/error.js';
export {
  Registry,
  type BlobOptions,
  type CallOptions,
  type FetchedManifest,
  type RegistryOptions,
  type UploadOptions,
} from './registry.js';
export {
  formatRegistryReference,
  parseRegistryHost,
  parseRegistryReference,
  type RegistryReference,
} from './address.js';
export { storedCredentials, type Credentials, type CredentialSource } from './auth/credentials.js';
export { forgetCredentials, saveCredentials, type LoginOptions } from './auth/login.js';
export type { RetryOptions } from './backoff.js';
export { HOST_FOLDERS, type RegistrySettings } from './hosts/endpoints.js';
export type { TlsSettings } from './http/transport.js';
export type { SendProgress, SendResult } from './send.js';
export type { Uploaded, UploadMemory } from './upload/upload.js';
