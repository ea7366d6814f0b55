/** The caller's microphone: opened, sent, muted, changed, and kept while the call connects. */

import { createLocalAudioTrack, type LocalAudioTrack, type Room, RoomEvent, Track, TrackEvent } from "livekit-client";
import { constraints } from "./devices";
import { Meter } from "./meter";
import { CallProblem, INSECURE, microphoneProblem } from "./problems";

const REPLACE_WITHIN_MS = 5_000;

export interface MicrophoneEvents {
  /** The device was taken away, and there is no other, or it cannot be sent. */
  gone(): void;
  /** The device was taken away, and the call goes on through this one. */
  replaced(label: string): void;
}

export class CallerMicrophone {
  #track: LocalAudioTrack | undefined;
  #meter: Meter | undefined;
  #published = false;
  /** The device has ended, and the client looks for another. */
  #ended = false;

  constructor(
    private readonly room: Room,
    private readonly sound: AudioContext,
    private readonly events: MicrophoneEvents,
    private device: string,
  ) {}

  /** Ask for the device and begin to keep what it hears. @throws CallProblem with a sentence for people. */
  async open(): Promise<void> {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new CallProblem(INSECURE);
    try {
      const track = await createLocalAudioTrack(constraints(this.device));
      track.on(TrackEvent.Ended, () => this.#end(track));
      track.on(TrackEvent.Restarted, () => this.#restarted(track));
      // What the client does when it finds no other device.
      track.on(TrackEvent.Muted, () => {
        if (this.#ended) this.#lose(track);
      });
      // publishDefaults.preConnectBuffer acts only where the room opens the microphone itself.
      if (typeof MediaRecorder !== "undefined") track.startPreConnectBuffer();
      this.#track = track;
      this.#published = this.#ended = false;
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
    this.#published = true;
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

  /** Go on with another device; empty: the system's own choice. @throws CallProblem it cannot be opened. */
  async use(device: string): Promise<void> {
    this.device = device;
    try {
      await this.#track?.setDeviceId(device ? { ideal: device } : "default");
    } catch (error) {
      throw new CallProblem(microphoneProblem(error));
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
    return this.#track?.isMuted ? 0 : (this.#meter?.read() ?? 0);
  }

  /** Give the device back. */
  stop(): void {
    const track = this.#track;
    this.#track = undefined;
    track?.stop();
    this.#meter?.close();
    this.#meter = undefined;
  }

  #end(track: LocalAudioTrack): void {
    if (track !== this.#track) return;
    // A track in the room is restarted by the client with another device, or muted; one that was
    // muted already, or not yet sent, is left as it is.
    if (!this.#published || track.isMuted) return this.#lose(track);
    this.#ended = true;
    setTimeout(() => {
      if (this.#ended) this.#lose(track);
    }, REPLACE_WITHIN_MS);
  }

  #restarted(track: LocalAudioTrack): void {
    if (track !== this.#track) return;
    this.#meter?.close();
    this.#meter = new Meter(this.sound, track.mediaStreamTrack);
    if (this.#ended) this.events.replaced(track.mediaStreamTrack.label);
    this.#ended = false;
  }

  #lose(track: LocalAudioTrack): void {
    if (track !== this.#track) return;
    this.stop();
    if (this.#published) void this.room.localParticipant.unpublishTrack(track).catch(() => undefined);
    this.events.gone();
  }
}
