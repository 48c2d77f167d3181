import { printable } from '../../core/bytes.js';

/** Gathers the same complaint about many entries into one line with an example. */
export class Notes {
  readonly #found = new Map<string, { count: number; example: string }>();

  /** @param path a byte string, the entry that it is about */
  add(message: string, path: string): void {
    const known = this.#found.get(message);
    if (known === undefined) this.#found.set(message, { count: 1, example: path });
    else known.count++;
  }

  /** One line for each complaint. */
  lines(): string[] {
    return [...this.#found].map(([message, { count, example }]) => {
      const first = `/${printable(example)}`;
      return count === 1 ? `${message} (${first})` : `${message} (${count} entries, the first is ${first})`;
    });
  }
}
