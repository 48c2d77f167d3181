import { formatPlatform, parsePlatform } from '../../core/oci/platform.js';

/** The platform of this machine, as image indexes name it: `linux/amd64`. */
export function currentPlatform(): string {
  const names: Record<string, string> = { x64: 'amd64', ia32: '386', loong64: 'loong64', mipsel: 'mipsle' };
  if (process.arch === 'arm') {
    const { arm_version } = process.config.variables as { arm_version?: string };
    return formatPlatform(parsePlatform(`linux/arm/v${arm_version ?? '7'}`));
  }
  if (process.arch === 'ppc64') return 'linux/ppc64le';
  return formatPlatform(parsePlatform(`linux/${names[process.arch] ?? process.arch}`));
}
