/** Notices of the box that hold until the next answer begins. */

export class PassingNotices {
  readonly #codes = new Set<string>();

  constructor(private readonly solved: (code: string) => void) {}

  /** This one is shown now. */
  shown(code: string): void {
    this.#codes.add(code);
  }

  /** The next answer has begun: all that were shown are solved. */
  pass(): void {
    for (const code of this.#codes) this.solved(code);
    this.#codes.clear();
  }
}
