/** Written words on their way to the agent: they wait while nobody is there to read them. */

import { EngineEvent, type Room, RoomEvent } from "livekit-client";
import { NOT_SENT, type Problem } from "./problems";
import { agentOf } from "./room";

export interface OutboxEvents {
  problem(problem: Problem): void;
  solved(code: string): void;
}

export class Outbox {
  readonly #waiting: string[] = [];
  #restarting = false;

  constructor(
    private readonly room: Room,
    private readonly events: OutboxEvents,
  ) {
    room.on(RoomEvent.Reconnecting, () => {
      this.#restarting = true;
    });
  }

  /** The room has been joined. @param changed called when its engine sends again after an outage. */
  joined(changed: () => void): void {
    this.#restarting = false;
    // The room calls itself connected before its engine sends again; text given to it in between
    // is dropped without a word. The engine's flag falls after this event.
    this.room.engine.on(EngineEvent.Restarted, () =>
      setTimeout(() => {
        this.#restarting = false;
        changed();
      }),
    );
  }

  put(text: string): void {
    this.#waiting.push(text);
  }

  /** Send what waits, if an agent is there to read it. */
  async flush(): Promise<void> {
    // One who is listed but not yet active would not receive it, and nobody would say so.
    if (!agentOf(this.room)?.isActive || this.#restarting) return;
    for (let text = this.#waiting.shift(); text !== undefined; text = this.#waiting.shift()) {
      try {
        await this.room.localParticipant.sendText(text, { topic: "lk.chat" });
        this.events.solved(NOT_SENT.code);
      } catch {
        // It goes out when the line is back: every change in the room tries again.
        this.#waiting.unshift(text);
        this.events.problem(NOT_SENT);
        return;
      }
    }
  }
}
