/** The words of a call as they come in, put in order. Knows no page and no room. */

export type Speaker = "you" | "agent";

export interface Line {
  key: string;
  speaker: Speaker;
  text: string;
  /** Nothing more will be added or changed. */
  final: boolean;
  typed: boolean;
}

/**
 * Merges what arrives on `lk.transcription`: the caller's utterances as whole texts, each update
 * replacing the last of its segment; the agent's as pieces that are appended.
 */
export class Transcript {
  readonly #lines: Line[] = [];
  readonly #newest = new Map<string, number>();
  #typed = 0;
  /** How many lines there were when the last turn was over. */
  #settled = 0;

  /** In the order in which they began. Lines without words are left out. */
  get lines(): readonly Line[] {
    return this.#lines.filter((line) => line.text.trim() !== "");
  }

  /**
   * The caller's segment now reads `text`.
   *
   * @param order number of the update's arrival: an older one never replaces a newer one.
   */
  heard(segment: string, text: string, final: boolean, order: number): void {
    const line = this.#line("you", segment);
    const seen = this.#newest.get(line.key) ?? -1;
    if (order < seen || (line.final && !final)) return;
    this.#newest.set(line.key, order);
    line.text = text;
    line.final = final;
  }

  /** The agent's segment goes on with `piece`. */
  spoken(segment: string, piece: string): void {
    this.#line("agent", segment).text += piece;
  }

  /** The agent's segment is complete, or was cut short. */
  spokenEnd(segment: string): void {
    this.#line("agent", segment).final = true;
  }

  /**
   * The agent was cut short, and `heard` is what reached the caller: the box knows better than the
   * pieces, which come a little before their sound.
   */
  cut(heard: string): void {
    const spoken = this.#lines.filter((line) => line.speaker === "agent" && line.text.trim() !== "").reverse();
    // Nothing was heard: whatever the agent's line reads, if it is this turn's.
    const said =
      heard.trim() === ""
        ? spoken.find((line) => !line.final || this.#lines.indexOf(line) >= this.#settled)
        : spoken.find((line) => sameBeginning(line.text.trim(), heard.trim()));
    if (said) said.text = heard;
  }

  /** A turn is over, and the lines so far are its own or older. */
  turnEnded(): void {
    this.#settled = this.#lines.length;
  }

  /** The caller typed this. */
  typed(text: string): void {
    this.#typed += 1;
    const line = this.#line("you", `typed-${this.#typed}`);
    line.text = text;
    line.final = true;
    line.typed = true;
  }

  #line(speaker: Speaker, segment: string): Line {
    const key = `${speaker}:${segment}`;
    let line = this.#lines.find((known) => known.key === key);
    if (!line) {
      line = { key, speaker, text: "", final: false, typed: false };
      this.#lines.push(line);
    }
    return line;
  }
}

function sameBeginning(one: string, other: string): boolean {
  return one.startsWith(other) || other.startsWith(one);
}
