/** A filesystem that cases run on. */
export interface Mounted {
  /** An empty folder in it. */
  readonly folder: string;
  /** What was prepared, one folder a case; in the read-only layer where the filesystem has one. */
  readonly lowerFolder: string;
  unmount(): Promise<void>;
}

export interface System {
  readonly name: string;
  /** Cases that it can never pass, and why. */
  readonly beyond?: ReadonlyMap<string, string>;
  /** Why it cannot be had here. */
  missing(): string | undefined;
  /**
   * @param work an empty folder for whatever the filesystem needs
   * @param template a folder that holds only `lower`, the prepared content. It must not be changed
   */
  mount(work: string, template: string): Promise<Mounted>;
}
