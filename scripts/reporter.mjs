// A vitest reporter that writes what scripts/test.mjs prints at the end: counts, skip reasons, failures and
// files that failed to load, to the file named by LAYERFS_TEST_REPORT.
import { writeFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';

export default class Reporter {
  /** Why whole suites of a file are skipped: the file says so, as vitest has no place for it. */
  #reasons = new Map();

  onUserConsoleLog(log) {
    for (const [, reason] of log.content.matchAll(/^skipped: .*?: (.*)$/gm)) {
      this.#reasons.set(log.taskId?.split('_')[0], reason);
    }
  }

  onTestRunEnd(modules, errors) {
    const report = { passed: 0, failed: 0, skipped: [], problems: [] };
    for (const module of modules) {
      for (const error of module.errors()) {
        report.failed++;
        report.problems.push(`${module.relativeModuleId}: ${error.message}`);
      }
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'passed') report.passed++;
        else if (result.state === 'failed') {
          report.failed++;
          const [error] = result.errors;
          // Without colours, and the beginning only: vitest has printed all of it.
          const message = stripVTControlCharacters(error?.message ?? 'no error').slice(0, 600);
          report.problems.push(`failed: ${module.relativeModuleId} > ${test.fullName}: ${message}`);
        } else {
          const reason = result.note ?? this.#reasons.get(module.id) ?? 'not asked for';
          report.skipped.push(`${module.relativeModuleId} > ${test.fullName}: ${reason}`);
        }
      }
    }
    for (const error of errors) {
      report.failed++;
      report.problems.push(`outside of a test: ${error.message}`);
    }
    writeFileSync(process.env.LAYERFS_TEST_REPORT, JSON.stringify(report));
  }
}
