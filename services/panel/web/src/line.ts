/** How good the connection to the box is, in plain words. */

import { ConnectionQuality, type RemoteTrack, type Room, RoomEvent } from "livekit-client";

const ASK_EVERY_MS = 5_000;

export interface Path {
  protocol: string | undefined;
  /** There and back, in ms. */
  roundTripMs: number | undefined;
}

/** What to say; empty while nothing is known. */
export function lineWords(quality: string, path: Path): string {
  const said: string[] = [];
  switch (quality) {
    case "excellent":
    case "good":
      said.push("Connection: good");
      break;
    case "poor":
      said.push("Connection: weak, words may get lost");
      break;
    case "lost":
      said.push("Connection: interrupted");
      break;
    default:
      if (path.protocol) said.push("Connected");
  }
  if (path.protocol === "udp") said.push("directly (UDP)");
  if (path.protocol === "tcp") said.push("over TCP: UDP is blocked, so answers come a little later");
  if (path.roundTripMs !== undefined) said.push(`${Math.round(path.roundTripMs)} ms there and back`);
  return said.join(" · ");
}

/** The path that the sound takes, from the browser's own figures. */
export function pathOf(reports: Iterable<Record<string, unknown>>): Path {
  const all = new Map<unknown, Record<string, unknown>>();
  let pair: Record<string, unknown> | undefined;
  for (const report of reports) {
    all.set(report["id"], report);
    if (report["type"] === "candidate-pair" && report["nominated"] === true && report["state"] === "succeeded") {
      pair = report;
    }
  }
  const local = all.get(pair?.["localCandidateId"]);
  const time = pair?.["currentRoundTripTime"];
  return {
    protocol: typeof local?.["protocol"] === "string" ? local["protocol"] : undefined,
    roundTripMs: typeof time === "number" ? time * 1000 : undefined,
  };
}

export class LineWatch {
  #quality: string = ConnectionQuality.Unknown;
  #path: Path = { protocol: undefined, roundTripMs: undefined };
  #timer: ReturnType<typeof setInterval> | undefined;
  #track: RemoteTrack | undefined;

  constructor(
    room: Room,
    private readonly changed: (text: string) => void,
  ) {
    room.on(RoomEvent.ConnectionQualityChanged, (quality, participant) => {
      if (participant !== room.localParticipant) return;
      this.#quality = quality;
      this.#say();
    });
  }

  /** Sound comes through this track now. */
  follow(track: RemoteTrack): void {
    this.#track = track;
    this.#timer ??= setInterval(() => void this.#ask(), ASK_EVERY_MS);
    void this.#ask();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #ask(): Promise<void> {
    const found = await this.#track?.getRTCStatsReport().catch(() => undefined);
    if (!found || this.#timer === undefined) return;
    this.#path = pathOf(found.values() as Iterable<Record<string, unknown>>);
    this.#say();
  }

  #say(): void {
    if (this.#timer !== undefined) this.changed(lineWords(this.#quality, this.#path));
  }
}
