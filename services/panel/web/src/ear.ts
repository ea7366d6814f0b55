/** The assistant's voice in the page: played on the chosen speaker, and measured. */

import { type RemoteTrack, type Room, RoomEvent, Track } from "livekit-client";
import { playOn } from "./devices";
import { Meter } from "./meter";
import { type Problem, SOUND_BLOCKED } from "./problems";

export interface EarEvents {
  /** Sound comes through this track now. */
  heard(track: RemoteTrack): void;
  problem(problem: Problem): void;
  solved(code: string): void;
}

export class Ear {
  readonly #elements = new Set<HTMLMediaElement>();
  #meter: Meter | undefined;
  #closed = false;

  /** @param speaker id of the device to play on; empty: the system's own choice. */
  constructor(
    private readonly room: Room,
    private readonly sound: AudioContext,
    private speaker: string,
    private readonly events: EarEvents,
  ) {
    room
      .on(RoomEvent.TrackSubscribed, (track) => this.#hear(track))
      .on(RoomEvent.TrackUnsubscribed, (track) => this.#forget(track))
      .on(RoomEvent.AudioPlaybackStatusChanged, () => this.#playback());
  }

  /** Go on playing on another device. */
  useSpeaker(id: string): void {
    this.speaker = id;
    for (const element of this.#elements) void playOn(element, id);
  }

  /** Let the blocked sound play. Call it from a click. */
  async unblock(): Promise<void> {
    if (this.#closed || this.room.canPlaybackAudio) return;
    await this.room.startAudio();
  }

  /** Loudness, 0 to 1. */
  level(): number {
    return this.#meter?.read() ?? 0;
  }

  /** The call is over: nothing more is said about its sound. */
  close(): void {
    this.#closed = true;
  }

  #hear(track: RemoteTrack): void {
    if (track.kind !== Track.Kind.Audio) return;
    const element = track.attach();
    element.hidden = true;
    document.body.append(element);
    this.#elements.add(element);
    if (this.speaker) void playOn(element, this.speaker);
    this.#meter?.close();
    this.#meter = new Meter(this.sound, track.mediaStreamTrack);
    this.events.heard(track);
  }

  #forget(track: RemoteTrack): void {
    for (const element of track.detach()) {
      element.remove();
      this.#elements.delete(element);
    }
  }

  #playback(): void {
    if (this.#closed) return;
    if (this.room.canPlaybackAudio) this.events.solved(SOUND_BLOCKED.code);
    else this.events.problem(SOUND_BLOCKED);
  }
}
