import type { SendResult } from 'layerfs';
import { formatBytes, plural } from '../../format.js';

/** What was sent, and what needed not be. */
export function sentText({ uploaded, mounted, existing, bytes }: SendResult): string {
  return `sent ${formatBytes(bytes)} in ${plural(uploaded, 'blob')}; ${existing} there already, ${mounted} from another repository`;
}
