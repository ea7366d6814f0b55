/** The room of a call, as this page sets it up, and who is in it. */

import { type Participant, Room } from "livekit-client";
import { RETRY_EVERY_MS, RETRY_FOR_MS } from "./rejoin";

/** A room that is not joined yet. */
export function newRoom(): Room {
  return new Room({
    adaptiveStream: false,
    dynacast: false,
    // The microphone outlives a lost room, so that nobody is asked for it again.
    stopLocalTrackOnUnpublish: false,
    reconnectPolicy: {
      nextRetryDelayInMs: ({ elapsedMs }) => (elapsedMs < RETRY_FOR_MS ? RETRY_EVERY_MS : null),
    },
  });
}

/** The agent in the room, if one is there. */
export function agentOf(room: Room): Participant | undefined {
  // Where a dead agent still lingers, the newest is the living one.
  return [...room.remoteParticipants.values()]
    .filter((participant) => participant.isAgent || participant.identity.startsWith("agent-"))
    .sort((a, b) => (b.joinedAt?.getTime() ?? 0) - (a.joinedAt?.getTime() ?? 0))[0];
}
