/** What the box kept of a call, asked for after its end. */

import type { CallApi, Kept } from "./api";

const TRIES = 5;
const EVERY_MS = 600;

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * The record of a call, asked for until it holds all answers.
 *
 * @param answers how many the page has seen.
 * @param given whether nobody wants to know any more.
 * @returns undefined when it cannot be read.
 */
export async function keptRecord(
  api: CallApi,
  sessionId: string,
  answers: number,
  given: () => boolean,
): Promise<Kept | undefined> {
  let kept: Kept | undefined;
  for (let attempt = 0; attempt < TRIES && !given(); attempt += 1) {
    // The agent writes the last turn as it leaves, so the record may still be growing.
    if (attempt > 0) await pause(EVERY_MS);
    try {
      kept = await api.transcript(sessionId);
    } catch {
      return kept;
    }
    if (!kept.keep_transcript || kept.turns.filter((turn) => turn.agent_text).length >= answers) break;
  }
  return kept;
}
