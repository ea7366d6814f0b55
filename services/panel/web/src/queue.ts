/** Taking a seat, and waiting for one while the box is full. */

import type { Place, Session, Wish } from "./api";
import { BoxFull, CallProblem } from "./problems";

/** What of the box's API a seat needs. */
export interface SeatApi {
  open(wish: Wish): Promise<Session>;
  place(ticket: string): Promise<Place>;
  leave(ticket: string): Promise<void>;
}

export class Seat {
  #givenUp = false;
  #ticket: string | undefined;
  #wake: (() => void) | undefined;

  /** @param waiting told how many are before the caller, again whenever the box was asked. */
  constructor(
    private readonly api: SeatApi,
    private readonly waiting: (beforeYou: number) => void,
  ) {}

  /**
   * Open a session, however long it takes until a seat is free.
   *
   * @returns undefined when the caller gave up.
   * @throws CallProblem the box refuses for another reason, or does not queue callers.
   */
  async take(wish: Wish): Promise<Session | undefined> {
    while (!this.#givenUp) {
      try {
        const session = await this.api.open({ ...wish, ...(this.#ticket ? { ticket: this.#ticket } : {}) });
        this.#ticket = undefined;
        return session;
      } catch (error) {
        if (!(error instanceof BoxFull) || !error.place) throw error;
        await this.#wait(error.place);
      }
    }
    return undefined;
  }

  /** The caller does not want to wait any longer. */
  giveUp(): void {
    if (this.#givenUp) return;
    this.#givenUp = true;
    // A place that is not asked for expires by itself, should this not arrive.
    if (this.#ticket) void this.api.leave(this.#ticket).catch(() => undefined);
    this.#wake?.();
  }

  /** Until it is the caller's turn, the place is gone (then the next try gets a new one), or they gave up. */
  async #wait(first: Place): Promise<void> {
    let place = first;
    this.#ticket = place.ticket;
    while (!this.#givenUp && !place.your_turn) {
      this.waiting(place.before_you);
      await this.#pause(place.poll_s * 1000);
      if (this.#givenUp) return;
      try {
        place = await this.api.place(place.ticket);
      } catch (error) {
        if (error instanceof CallProblem && error.problem.code === "box_unreachable") continue;
        this.#ticket = undefined;
        return;
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** What to tell somebody who waits. */
export function queueWords(beforeYou: number): string {
  const many =
    beforeYou === 0 ? "You are next." : beforeYou === 1 ? "One is before you." : `${beforeYou} are before you.`;
  return `${many} Leave this page open: you are let in by yourself.`;
}
