import { formatBytes, formatTime, shortDigest } from './format.js';
import { Rate } from './rate.js';

interface Bar {
  label: string;
  done: number;
  total: number;
  rate: Rate;
}

/** Where bars are drawn: standard error, or a stand-in. */
export interface Screen {
  readonly columns?: number;
  write(text: string): unknown;
}

const WIDTH = 30;
const INTERVAL = 100;

/**
 * Progress bars on a terminal. A bar that is finished becomes a plain line above those still running, so that an image of
 * a hundred layers needs no more lines than layers in work.
 */
export class Progress {
  readonly #screen: Screen | undefined;
  readonly #exists: string;
  readonly #bars = new Map<string, Bar>();
  readonly #ended = new Set<string>();
  #drawn = 0;
  #last = Number.NEGATIVE_INFINITY;

  /**
   * @param screen nothing is shown without one
   * @param exists what is said of a layer that was there
   */
  constructor(screen: Screen | undefined, exists = 'already in the store') {
    this.#screen = screen;
    this.#exists = exists;
  }

  /** Sets how far something is. */
  update(key: string, label: string, done: number, total: number, now = Date.now()): void {
    if (this.#screen === undefined || this.#ended.has(key)) return;
    const bar = this.#bars.get(key) ?? { label, done: 0, total: 0, rate: new Rate(done, now) };
    this.#bars.set(key, bar);
    bar.label = label;
    bar.done = done;
    bar.total = total;
    bar.rate.seen(done, now);
    if (now - this.#last < INTERVAL) return;
    this.#last = now;
    this.#draw([]);
  }

  /** Ends a bar with a word, such as `done`. */
  finish(key: string, label: string, word: string): void {
    if (this.#screen === undefined || this.#ended.has(key)) return;
    this.#ended.add(key);
    this.#bars.delete(key);
    this.#draw([`${label}  ${word}`]);
  }

  /** A layer's bar. */
  layer(event: LayerProgress): void {
    if (event.state === 'waiting') return;
    const number = `${String(event.index).padStart(String(event.of).length)}/${event.of}`;
    const label = `layer ${number} ${shortDigest(event.digest)}`.trimEnd();
    const key = `${event.index}/${event.digest}`;
    if (event.state === 'exists') this.finish(key, label, this.#exists);
    else if (event.state === 'mounted') this.finish(key, label, 'from another repository');
    else if (event.state === 'done') this.finish(key, label, `done, ${formatBytes(event.done)}`);
    else this.update(key, label, event.done, event.total ?? 0);
  }

  /** Takes the running bars off the screen, so that other output can follow. */
  clear(): void {
    this.#bars.clear();
    if (this.#drawn > 0) this.#draw([]);
  }

  #draw(finished: readonly string[]): void {
    const columns = this.#screen?.columns ?? 80;
    // Back to the first bar's line, and everything below is cleared: lines must not wrap, or that count is wrong.
    let out = this.#drawn > 0 ? `\x1b[${this.#drawn}A\x1b[J` : '';
    for (const text of finished) out += `${text.slice(0, columns - 1)}\n`;
    for (const bar of this.#bars.values()) out += `${line(bar).slice(0, columns - 1)}\n`;
    this.#drawn = this.#bars.size;
    this.#screen?.write(out);
  }
}

/** What an import or export tells of a layer. */
export interface LayerProgress {
  readonly index: number;
  readonly of: number;
  readonly digest: string;
  readonly done: number;
  readonly total: number | undefined;
  readonly state: 'waiting' | 'exists' | 'mounted' | 'reading' | 'writing' | 'sending' | 'done';
}

/** The screen to draw on: none unless standard error is a terminal and nobody asked for silence. */
export function progressScreen(options: { readonly quiet?: boolean; readonly json?: boolean }): Screen | undefined {
  return process.stderr.isTTY && options.quiet !== true && options.json !== true ? process.stderr : undefined;
}

function line(bar: Bar): string {
  // A stream's size is not known before its end.
  if (bar.total <= 0) return `${bar.label}  ${formatBytes(bar.done)}`;
  const full = Math.round(Math.min(1, bar.done / bar.total) * WIDTH);
  const rate = bar.rate.perSecond();
  const left =
    rate > 0 ? `, ${formatBytes(Math.round(rate))}/s, ${formatTime((bar.total - bar.done) / rate)} left` : '';
  return `${bar.label}  [${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}] ${formatBytes(bar.done)} of ${formatBytes(bar.total)}${left}`;
}
