import { spawn } from 'node:child_process';
import { expect, test, vi } from 'vitest';
import { runnableTasks } from './load.js';

test('counts who runs or waits for a processor', { timeout: 60_000 }, async () => {
  const busy = Array.from({ length: 5 }, () => spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }));
  try {
    await vi.waitFor(() => expect(runnableTasks()).toBeGreaterThanOrEqual(5), { timeout: 20_000 });
  } finally {
    for (const each of busy) each.kill('SIGKILL');
  }
  // And nobody who sleeps.
  await vi.waitFor(() => expect(runnableTasks()).toBeLessThan(5), { timeout: 20_000 });
});
