/** Goes back into a room that was lost, as long as the box still holds the call. */

import type { Room } from "livekit-client";
import type { Session } from "./api";

export const RETRY_EVERY_MS = 400;
export const RETRY_FOR_MS = 60_000;

// An empty list overrides what a server may suggest: no STUN host outside is ever asked.
const CONNECTION = { rtcConfig: { iceServers: [] } };

/** Join the session's room. @throws ConnectionError the media server refuses or is away. */
export async function join(room: Room, session: Session): Promise<void> {
  await room.connect(session.url, session.token, CONNECTION);
}

/**
 * Try again until it works, the box says that the call is over, or the patience ends.
 *
 * The client itself reconnects after an outage, but takes "no such room" for the last word, and a
 * restarted media server has no rooms until the panel has made them again.
 */
export async function rejoin(
  room: Room,
  session: Session,
  stateOf: (id: string) => Promise<string>,
  given: () => boolean,
): Promise<"back" | "ended" | "lost"> {
  const until = performance.now() + RETRY_FOR_MS;
  while (performance.now() < until && !given()) {
    const state = await stateOf(session.session_id).catch(() => undefined);
    if (state !== undefined && state !== "active") return "ended";
    try {
      await join(room, session);
      return "back";
    } catch {
      await new Promise((resolve) => setTimeout(resolve, RETRY_EVERY_MS));
    }
  }
  return "lost";
}
