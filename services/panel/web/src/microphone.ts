/** The caller's microphone: opened, sent, muted, and kept while the call connects. */

import { createLocalAudioTrack, type LocalAudioTrack, type Room, RoomEvent, Track, TrackEvent } from "livekit-client";
import { Meter } from "./meter";
import { CallProblem, INSECURE, microphoneProblem } from "./problems";

export class CallerMicrophone {
  #track: LocalAudioTrack | undefined;
  #meter: Meter | undefined;

  /** @param gone called when the device was taken away or cannot be sent. */
  constructor(
    private readonly room: Room,
    private readonly sound: AudioContext,
    private readonly gone: () => void,
  ) {}

  /** Ask for the device and begin to keep what it hears. @throws CallProblem with a sentence for people. */
  async open(): Promise<void> {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new CallProblem(INSECURE);
    try {
      const track = await createLocalAudioTrack({
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
      });
      track.once(TrackEvent.Ended, () => this.#lose(track));
      // publishDefaults.preConnectBuffer acts only where the room opens the microphone itself.
      if (typeof MediaRecorder !== "undefined") track.startPreConnectBuffer();
      this.#track = track;
      this.#meter = new Meter(this.sound, track.mediaStreamTrack);
    } catch (error) {
      throw new CallProblem(microphoneProblem(error));
    }
  }

  /** Send it into the room, with what was kept. */
  async publish(): Promise<void> {
    const track = this.#track;
    if (!track) return;
    const subscribed = new Promise<void>((resolve) => {
      this.room.once(RoomEvent.LocalTrackSubscribed, () => resolve());
    });
    try {
      await this.room.localParticipant.publishTrack(track, {
        source: Track.Source.Microphone,
        // More than speech needs: the network is the owner's own, and words are heard better.
        audioPreset: { maxBitrate: 64_000 },
        dtx: false,
      });
      // An agent that is there already subscribes before the client listens for it, and the buffer
      // would run on for ten seconds while the agent waits for its end.
      void subscribed.then(() => track.stopPreConnectBuffer());
    } catch {
      this.#lose(track);
    }
  }

  /** Stop or resume the sound. @returns whether there is a microphone at all. */
  async mute(muted: boolean): Promise<boolean> {
    if (!this.#track) return false;
    await (muted ? this.#track.mute() : this.#track.unmute());
    return true;
  }

  /** Loudness, 0 to 1. */
  level(): number {
    return this.#meter?.read() ?? 0;
  }

  /** Give the device back. */
  stop(): void {
    this.#track?.stop();
    this.#track = undefined;
    this.#meter?.close();
    this.#meter = undefined;
  }

  #lose(track: LocalAudioTrack): void {
    if (track !== this.#track) return;
    this.stop();
    this.gone();
  }
}
