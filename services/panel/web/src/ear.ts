/** The assistant's voice in the page: played on the chosen speaker, and measured. */

import { type RemoteTrack, Track } from "livekit-client";
import { playOn } from "./devices";
import { Meter } from "./meter";

export class Ear {
  readonly #elements = new Set<HTMLMediaElement>();
  #meter: Meter | undefined;

  /** @param speaker id of the device to play on; empty: the system's own choice. */
  constructor(
    private readonly sound: AudioContext,
    private speaker: string,
  ) {}

  /** Play what comes through this track. @returns whether it is sound at all. */
  hear(track: RemoteTrack): boolean {
    if (track.kind !== Track.Kind.Audio) return false;
    const element = track.attach();
    element.hidden = true;
    document.body.append(element);
    this.#elements.add(element);
    if (this.speaker) void playOn(element, this.speaker);
    this.#meter?.close();
    this.#meter = new Meter(this.sound, track.mediaStreamTrack);
    return true;
  }

  /** The track has gone. */
  forget(track: RemoteTrack): void {
    for (const element of track.detach()) {
      element.remove();
      this.#elements.delete(element);
    }
  }

  /** Go on playing on another device. */
  useSpeaker(id: string): void {
    this.speaker = id;
    for (const element of this.#elements) void playOn(element, id);
  }

  /** Loudness, 0 to 1. */
  level(): number {
    return this.#meter?.read() ?? 0;
  }
}
