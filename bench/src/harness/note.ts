/** Something that has to be known about a table: who is missing in it, or has fewer rounds, and why. */
export interface Note {
  readonly benchmark: string;
  readonly title: string;
  readonly text: string;
}
