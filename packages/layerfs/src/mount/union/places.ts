/** The places of a folder's names that only upper has, in listings: each keeps its own for as long as it is there. */
export class Places {
  #places = new Map<string, number>();
  #next = 0;

  /** The places of all such names, counted from 0 on; what is not among them any more is forgotten. */
  update(names: readonly string[]): ReadonlyMap<string, number> {
    const places = new Map<string, number>();
    for (const name of names) places.set(name, this.#places.get(name) ?? this.#next++);
    return (this.#places = places);
  }
}
