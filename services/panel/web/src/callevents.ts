/** What a call is begun with, and what it tells the page. */

import type { CallApi, Wish } from "./api";
import type { Problem } from "./problems";
import type { Microphone, Phase } from "./state";
import type { TurnTimes } from "./waterfall";

export interface Gear {
  api: CallApi;
  wish: Wish;
  /** Ids of the chosen devices; empty: the system's own choice. */
  microphone: string;
  speaker: string;
  /** The call is held in writing: no microphone is asked for. */
  textOnly: boolean;
}

export interface Ending {
  /** Undefined: no session had been opened. */
  sessionId: string | undefined;
  seconds: number;
  /** Undefined: the call ended as calls do. */
  problem: Problem | undefined;
  /** Fulfilled when the box knows that the call is over. */
  closed: Promise<void>;
}

export interface CallEvents {
  phase(phase: Phase): void;
  microphone(state: Microphone): void;
  /** Every seat is taken; this many callers come first. */
  queued(beforeYou: number): void;
  /** A seat is taken; the call may last this long, in seconds. */
  seated(maxS: number | undefined): void;
  transcript(): void;
  turn(turn: TurnTimes): void;
  /** How good the connection is, in words. */
  line(text: string): void;
  problem(problem: Problem): void;
  /** A problem of this code is no longer true. */
  solved(code: string): void;
  ended(ending: Ending): void;
}
