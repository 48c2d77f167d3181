import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'bench/src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['**/dist/**', '**/node_modules/**'],
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 600_000,
    // scripts/test.mjs lists what was skipped, and why, at the end.
    onConsoleLog: (log) => (log.startsWith('skipped: ') ? false : undefined),
  },
});
