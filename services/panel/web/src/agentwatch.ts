/** Notices that no agent is in the room, and has one called again. */

export interface Absence {
  /** No agent within the first patience: ask for one again. */
  late(): void;
  /** None came after that either. */
  lost(): void;
}

export const LATE_MS = 5_000;
export const LOST_MS = 15_000;

export class AgentWatch {
  #timers: ReturnType<typeof setTimeout>[] = [];

  constructor(private readonly absence: Absence) {}

  /** The room has no agent now. Safe to call again while it is so. */
  absent(): void {
    if (this.#timers.length > 0) return;
    this.#timers = [
      setTimeout(() => this.absence.late(), LATE_MS),
      setTimeout(() => this.absence.lost(), LOST_MS),
    ];
  }

  /** An agent is in the room, or the call is over. */
  present(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
  }
}
