import { expect, test } from 'vitest';
import { Progress, progressScreen, type LayerProgress } from './progress.js';

const ESCAPE = '\u001b';
const MOVE = new RegExp(`^${ESCAPE}\\[(\\d+)A${ESCAPE}\\[J`);

/** What is on a terminal of this width: understands what Progress writes, and nothing else. */
class FakeScreen {
  readonly columns: number;
  lines: string[] = [''];
  writes = 0;

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): void {
    this.writes++;
    const move = MOVE.exec(text);
    if (move !== null) this.lines = [...this.lines.slice(0, -1 - Number(move[1])), ''];
    for (const line of text.slice(move?.[0].length ?? 0).split('\n')) {
      if (line.length >= this.columns || line.includes(ESCAPE)) throw new Error(`not one line: ${line}`);
      this.lines[this.lines.length - 1] = line;
      this.lines.push('');
    }
    this.lines.pop();
  }
}

function layer(index: number, state: LayerProgress['state'], done: number, total?: number): LayerProgress {
  return { index, of: 3, digest: `sha256:${String(index).repeat(64)}`, done, total, state };
}

test('finished layers stay above those in work, whatever their order', () => {
  const screen = new FakeScreen(100);
  const progress = new Progress(screen);
  progress.layer(layer(1, 'waiting', 0, 100));
  progress.layer(layer(1, 'reading', 50, 100));
  progress.layer(layer(2, 'reading', 0, 1000));
  progress.layer(layer(3, 'exists', 0, 100));
  expect(screen.lines).toEqual([
    'layer 3/3 333333333333  already in the store',
    'layer 1/3 111111111111  [###############...............] 50 B of 100 B',
    'layer 2/3 222222222222  [..............................] 0 B of 1.00 kB',
    '',
  ]);
  progress.layer(layer(2, 'done', 1000, 1000));
  progress.layer(layer(2, 'reading', 1000, 1000));
  expect(screen.lines.slice(1)).toEqual([
    'layer 2/3 222222222222  done, 1.00 kB',
    'layer 1/3 111111111111  [###############...............] 50 B of 100 B',
    '',
  ]);
  progress.clear();
  expect(screen.lines.slice(2)).toEqual(['']);
});

test('lines do not wrap on a narrow terminal, and a stream shows its bytes', () => {
  const screen = new FakeScreen(40);
  const progress = new Progress(screen);
  progress.layer(layer(1, 'reading', 5, 10));
  progress.layer(layer(2, 'reading', 12_345));
  progress.layer(layer(3, 'done', 1, 1));
  expect(screen.lines[2]).toBe('layer 2/3 222222222222  12.3 kB');
});

test('a bar is not drawn more often than the eye can follow', () => {
  const screen = new FakeScreen(80);
  const progress = new Progress(screen);
  for (let i = 0; i < 1000; i++) progress.update('key', 'label', i, 1000, 1_000_000 + i);
  expect(screen.writes).toBe(10);
});

test('without a terminal there are no bars', () => {
  expect(progressScreen({ quiet: true })).toBeUndefined();
  expect(progressScreen({ json: true })).toBeUndefined();
  const progress = new Progress(undefined);
  expect(() => {
    progress.layer(layer(1, 'reading', 5, 10));
    progress.layer(layer(1, 'done', 10, 10));
    progress.clear();
  }).not.toThrow();
});
