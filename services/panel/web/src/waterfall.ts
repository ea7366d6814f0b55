/** Where the time of an answer went: what the box tells of a turn, as bars. */

import type { Room } from "livekit-client";

/** The agent's stages in the order in which they usually end, and what each is in plain words. */
export const STAGES = {
  transcript: "Your words as text",
  end_of_turn: "Sure you had finished",
  first_token: "First word of the answer",
  first_clause: "First phrase of it",
  first_sound: "First sound of it",
} as const;

export type Stage = keyof typeof STAGES;

/** One finished turn, from the topic `appliance.turn`. */
export interface TurnTimes {
  turn: number;
  /** When each stage ended, in ms after the caller's last sound; null: it did not happen. */
  ms: Partial<Record<Stage, number | null>>;
  /** What was heard of an answer that was cut short; left out of all others. */
  cut?: string;
}

export interface Bar {
  stage: Stage;
  label: string;
  /** Both in ms after the caller's last sound. */
  from: number;
  to: number;
}

/** A bar per stage, each from the end of the one before it; empty for a turn without times, as typed ones. */
export function bars(ms: TurnTimes["ms"]): Bar[] {
  const ended = (Object.keys(STAGES) as Stage[])
    .map((stage) => ({ stage, to: ms[stage] }))
    .filter((one): one is { stage: Stage; to: number } => typeof one.to === "number" && Number.isFinite(one.to))
    // Stages run beside each other; an early start may have ended before the last word.
    .map(({ stage, to }) => ({ stage, to: Math.max(0, to) }))
    .sort((a, b) => a.to - b.to);
  return ended.map(({ stage, to }, place) => ({
    stage,
    label: STAGES[stage],
    from: place === 0 ? 0 : (ended[place - 1]?.to ?? 0),
    to,
  }));
}

/** How long the caller waited, in ms; undefined: this turn has no sound or no times. */
export function waited(ms: TurnTimes["ms"]): number | undefined {
  return typeof ms.first_sound === "number" ? Math.max(0, ms.first_sound) : undefined;
}

/** Milliseconds for people: "0.85 s". */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** A turn as the box tells it; undefined: it is none. */
export function turnOf(text: string): TurnTimes | undefined {
  const told = JSON.parse(text) as Partial<TurnTimes> & { agent_text?: unknown; interrupted?: unknown };
  const { turn, ms, agent_text: heard, interrupted } = told;
  if (typeof turn !== "number" || typeof ms !== "object" || ms === null) return undefined;
  return interrupted === true && typeof heard === "string" ? { turn, ms, cut: heard } : { turn, ms };
}

/** Hand on the times of each finished turn. */
export function receiveTurns(room: Room, finished: (turn: TurnTimes) => void): void {
  room.registerTextStreamHandler("appliance.turn", (reader) => {
    reader
      .readAll()
      .then((text) => {
        const told = turnOf(text);
        if (told) finished(told);
      })
      // Broken off by a dying agent: the turn has no times then.
      .catch(() => undefined);
  });
}
