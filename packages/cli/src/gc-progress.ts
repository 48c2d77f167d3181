import type { GcProgress } from 'layerfs';
import { Progress, progressScreen } from './progress.js';

/** A bar for collections of garbage. */
export function gcProgress(options: { readonly quiet?: boolean; readonly json?: boolean }): {
  readonly event: (event: GcProgress) => void;
  readonly clear: () => void;
} {
  const progress = new Progress(progressScreen(options));
  return {
    event: ({ phase, done, of, freedBytes }) => {
      const label = phase === 'mark' ? 'looking at what stays' : `removing, ${done} of ${of} layers`;
      progress.update('gc', label, freedBytes, 0);
    },
    clear: () => progress.clear(),
  };
}
