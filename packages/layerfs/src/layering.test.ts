import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const source = dirname(fileURLToPath(import.meta.url));
/** An import may point to the same part or to one on its left. */
const PARTS = ['core', 'registry', 'store', 'mount'];

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return files(path);
    return path.endsWith('.ts') && !path.endsWith('.test.ts') ? [path] : [];
  });
}

/** What a file imports: module names, or paths relative to src. */
function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(/^(?:import|export)\s[^'"]*?from\s+'([^']+)'|^import '([^']+)'/gm)].map((match) => {
    const name = match[1] ?? match[2];
    return name.startsWith('.') ? relative(source, resolve(dirname(path), name)) : name;
  });
}

const graph = files(source).map((path) => ({ file: relative(source, path), imports: importsOf(path) }));

describe('layers of the package', () => {
  it('finds files and imports at all', () => {
    expect(graph.length).toBeGreaterThan(20);
    expect(graph.flatMap((node) => node.imports).length).toBeGreaterThan(50);
  });

  it('core is pure: it imports nothing but core', () => {
    const impure = graph
      .filter((node) => node.file.startsWith('core/'))
      .flatMap((node) =>
        node.imports.filter((name) => !name.startsWith('core/')).map((name) => `${node.file}: ${name}`),
      );
    expect(impure).toEqual([]);
  });

  it('no arrow runs back from core to registry to store to mount', () => {
    const back: string[] = [];
    for (const { file, imports } of graph) {
      const from = PARTS.indexOf(file.split('/')[0]);
      if (from < 0) continue;
      for (const name of imports) if (PARTS.indexOf(name.split('/')[0]) > from) back.push(`${file}: ${name}`);
    }
    expect(back).toEqual([]);
  });
});
