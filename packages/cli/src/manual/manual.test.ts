import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { buildProgram } from '../program/program.js';
import { manualPages } from './pages.js';
import { escaped } from './troff.js';

test('the manual pages are those of the command table: npm run manual writes them', () => {
  for (const [name, text] of manualPages()) {
    expect(readFileSync(new URL(`../../man/${name}`, import.meta.url), 'utf8')).toBe(text);
  }
});

test('every command and every option has its place', () => {
  const [[, page]] = manualPages();
  for (const command of buildProgram('', () => Promise.resolve()).commands) {
    expect(page).toContain(`\n.SS "${command.name().replaceAll('-', '\\-')}`);
    for (const { flags } of command.options) expect(page).toContain(`.B "${escaped(flags)}"`);
  }
});

test('text cannot be taken for a request', () => {
  expect(escaped(".so /etc/passwd\n'br\na\\fB --x")).toBe("\\&.so /etc/passwd\n\\&'br\na\\efB \\-\\-x");
});
