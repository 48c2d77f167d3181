import { formatBytes, shortDigest } from './format.js';

interface Bar {
  readonly label: string;
  done: number;
  total: number;
  text: string;
}

const WIDTH = 30;
const INTERVAL = 100;

/** Progress bars on a terminal's standard error; does nothing when it is no terminal. */
export class Progress {
  readonly #enabled: boolean;
  readonly #bars = new Map<string, Bar>();
  #drawn = 0;
  #last = 0;

  constructor(enabled = process.stderr.isTTY) {
    this.#enabled = enabled;
  }

  /** Sets one bar; bars are shown in the order in which they first came. */
  update(key: string, label: string, done: number, total: number, text: string, now = Date.now()): void {
    const bar = this.#bars.get(key) ?? { label, done: 0, total: 0, text: '' };
    this.#bars.set(key, bar);
    const changed = bar.text !== text;
    bar.done = done;
    bar.total = total;
    bar.text = text;
    if (!this.#enabled || (!changed && now - this.#last < INTERVAL)) return;
    this.#last = now;
    this.#draw();
  }

  /** A layer's bar. */
  layer(index: number, of: number, digest: string, done: number, total: number, state: string): void {
    const label = `layer ${index}/${of} ${shortDigest(digest)}`;
    this.update(`${index}/${digest}`, label, done, total, state === 'reading' ? '' : state);
  }

  #draw(): void {
    let out = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    for (const bar of this.#bars.values()) out += `\x1b[2K${line(bar)}\n`;
    this.#drawn = this.#bars.size;
    process.stderr.write(out);
  }

  /** Leaves the bars as they are and lets other output follow. */
  end(): void {
    if (this.#enabled && this.#bars.size > 0) this.#draw();
    this.#bars.clear();
    this.#drawn = 0;
  }
}

function line(bar: Bar): string {
  if (bar.text !== '') return `${bar.label}  ${bar.text}`;
  const part = bar.total > 0 ? Math.min(1, bar.done / bar.total) : 0;
  const full = Math.round(part * WIDTH);
  return `${bar.label}  [${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}] ${formatBytes(bar.done)} of ${formatBytes(bar.total)}`;
}
