/** The registry of cases. */

/** Leaves a case undone, with a reason that is printed. */
export class Skip extends Error {}

/** Runs in a folder of its own, mode 0777 and root's, which is the current folder. */
export interface Case {
  /** `family: what is true`. */
  readonly name: string;
  readonly needsRoot: boolean;
  /**
   * Content that the case finds in its folder. A case that has it runs twice: once on content that was made through
   * the mounted filesystem, and once on content of the read-only layer, so that every change begins with a copy-up.
   */
  readonly prepare?: () => void;
  readonly run: () => void | Promise<void>;
}

export interface CaseOptions {
  readonly root?: boolean;
  readonly prepare?: () => void;
}

/** The cases of one subject. */
export class Family {
  readonly cases: Case[] = [];
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  readonly add = (what: string, options: CaseOptions, run: () => void | Promise<void>): void => {
    const { root = false, prepare } = options;
    this.cases.push({
      name: `${this.#name}: ${what}`,
      needsRoot: root,
      run,
      ...(prepare === undefined ? {} : { prepare }),
    });
  };
}
