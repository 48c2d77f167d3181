/** Platforms as image indexes name them (OCI image spec, image-index.md): `os/architecture[/variant]`, in Go's words. */
import { LayerfsError } from '../error.js';
import type { Fields } from './json.js';
import { shown } from './json.js';

/** A normalised platform: `variant` is absent where it is the architecture's plain form (amd64 v1, arm64 v8). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

const ARCHITECTURES: ReadonlyMap<string, string> = new Map([
  ['x86_64', 'amd64'],
  ['x86-64', 'amd64'],
  ['x64', 'amd64'],
  ['i386', '386'],
  ['i686', '386'],
  ['ia32', '386'],
  ['aarch64', 'arm64'],
  ['armhf', 'arm/v7'],
  ['armel', 'arm/v6'],
  ['loong64', 'loong64'],
]);

/** @throws LayerfsError invalid-argument for anything but `os/architecture[/variant]` or a bare architecture */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/');
  if (parts.length === 1) parts.unshift('linux');
  if (parts.length > 3 || !parts.every((part) => /^[A-Za-z0-9_.-]{1,40}$/.test(part))) {
    throw new LayerfsError(
      'invalid-argument',
      `not a platform (such as linux/amd64 or linux/arm64/v8): ${shown(text)}`,
    );
  }
  return normalize(parts[0], parts[1], parts[2]);
}

/** `os/architecture[/variant]`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** Platform fields of a descriptor or config; undefined when `os` or `architecture` is not there. */
export function platformOf(fields: Fields): Platform | undefined {
  const os = fields.string('os', 64);
  const architecture = fields.string('architecture', 64);
  const variant = fields.string('variant', 64);
  if (os === undefined || os === '' || architecture === undefined || architecture === '') return undefined;
  return normalize(os, architecture, variant);
}

/**
 * How well an image made for `offered` serves on `wanted`: 0 not at all, higher is better.
 * An older variant of the same architecture serves, a newer one does not.
 */
export function platformMatch(wanted: Platform, offered: Platform): number {
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return 0;
  if (wanted.variant === offered.variant) return 1000;
  const most = variantNumber(wanted);
  const has = variantNumber(offered);
  if (most === undefined || has === undefined || has > most) return 0;
  return 1 + has;
}

function normalize(os: string, architecture: string, variant: string | undefined): Platform {
  let arch = architecture.toLowerCase();
  let form = (variant ?? '').toLowerCase();
  arch = ARCHITECTURES.get(arch) ?? arch;
  const slash = arch.indexOf('/');
  if (slash >= 0) {
    if (form === '') form = arch.slice(slash + 1);
    arch = arch.slice(0, slash);
  }
  if (/^\d/.test(form)) form = `v${form}`;
  if (arch === 'arm' && form === '') form = 'v7';
  if ((arch === 'arm64' && form === 'v8') || (arch === 'amd64' && form === 'v1')) form = '';
  const plain = { os: os.toLowerCase() === 'macos' ? 'darwin' : os.toLowerCase(), architecture: arch };
  return form === '' ? plain : { ...plain, variant: form };
}

// v6 is 6; the plain forms count as the oldest of their architecture.
function variantNumber(platform: Platform): number | undefined {
  if (platform.variant === undefined) return platform.architecture === 'arm64' ? 8 : 1;
  const match = /^v(\d{1,3})$/.exec(platform.variant);
  return match === null ? undefined : Number(match[1]);
}
