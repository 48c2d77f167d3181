import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
// Tests start the commands, which are bundled from what was built.
import './scripts/bundle.mjs';

// Node reads these certificates at each start, which takes longer than many a command of ours. What asks npm's registry gets them back.
const { NODE_EXTRA_CA_CERTS: certificates } = process.env;
if (certificates !== undefined) process.env['LAYERFS_TEST_CA_CERTS'] = certificates;
delete process.env['NODE_EXTRA_CA_CERTS'];

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'bench/src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['**/dist/**', '**/node_modules/**'],
    pool: 'forks',
    // Tests wait for disks and for programs that they start, so that even two processors are better used by all.
    maxWorkers: availableParallelism(),
    testTimeout: 60_000,
    hookTimeout: 600_000,
    // scripts/test.mjs lists what was skipped, and why, at the end.
    onConsoleLog: (log) => (log.startsWith('skipped: ') ? false : undefined),
  },
});
