/** One call: the session, the room, and what both say. */

import {
  ConnectionState,
  DisconnectReason,
  EngineEvent,
  type Participant,
  type RemoteTrack,
  Room,
  RoomEvent,
  Track,
} from "livekit-client";
import { AgentWatch } from "./agentwatch";
import { dispatchAgain, endSession, openSession, type Session } from "./api";
import { Meter } from "./meter";
import { CallerMicrophone } from "./microphone";
import {
  AGENT_ABSENT,
  AGENT_LATE,
  CallProblem,
  ELSEWHERE,
  LOST,
  NOT_CONNECTED,
  NOT_SENT,
  type Problem,
  SOUND_BLOCKED,
  UNREACHABLE,
} from "./problems";
import { join, rejoin, RETRY_EVERY_MS, RETRY_FOR_MS } from "./rejoin";
import { type Microphone, type Phase, phaseOfAgent } from "./state";
import { receiveNotices, receiveTranscript } from "./streams";
import { Transcript } from "./transcript";

export interface Ending {
  /** Undefined: no session had been opened. */
  sessionId: string | undefined;
  seconds: number;
  /** Undefined: the call ended as calls do. */
  problem: Problem | undefined;
  /** Fulfilled when the box knows that the call is over. */
  closed: Promise<void>;
}

export interface CallEvents {
  phase(phase: Phase): void;
  microphone(state: Microphone): void;
  transcript(): void;
  problem(problem: Problem): void;
  /** A problem of this code is no longer true. */
  solved(code: string): void;
  ended(ending: Ending): void;
}

const ASKING_AFTER_MS = 400;

export class Call {
  readonly transcript = new Transcript();
  readonly #room = new Room({
    adaptiveStream: false,
    dynacast: false,
    // The microphone outlives a lost room, so that nobody is asked for it again.
    stopLocalTrackOnUnpublish: false,
    reconnectPolicy: {
      nextRetryDelayInMs: ({ elapsedMs }) => (elapsedMs < RETRY_FOR_MS ? RETRY_EVERY_MS : null),
    },
  });
  readonly #watch = new AgentWatch({ late: () => this.#agentLate(), lost: () => this.#agentLost() });
  readonly #sound = new AudioContext();
  readonly #microphone = new CallerMicrophone(this.#room, this.#sound, () => this.#microphoneGone());
  readonly #outbox: string[] = [];
  readonly #began = performance.now();
  #phase: Phase = "ready";
  #session: Session | undefined;
  #connected = false;
  #over = false;
  #restarting = false;
  #ear: Meter | undefined;
  #noticed: string | undefined;

  constructor(private readonly events: CallEvents) {
    this.#listen();
  }

  /** Open the microphone, the session and the room. Call it from a click, or the sound is blocked. */
  async start(): Promise<void> {
    this.#room.startAudio().catch(() => undefined);
    this.#sound.resume().catch(() => undefined);
    this.#setPhase("connecting");
    await this.useMicrophone();
    if (this.#over) return;
    try {
      this.#session = await openSession();
      if (this.#over) {
        await endSession(this.#session.session_id);
        return;
      }
      await join(this.#room, this.#session);
    } catch (error) {
      this.#finish(error instanceof CallProblem ? error.problem : NOT_CONNECTED, true);
      return;
    }
    await this.#joined();
  }

  /** Ask for the microphone, first or again; without one the call goes on in writing. */
  async useMicrophone(): Promise<void> {
    const before = this.#phase;
    // A browser that has been allowed before answers at once: then nobody is told to allow it.
    const asking = setTimeout(() => {
      if (!this.#connected) this.#setPhase("asking");
    }, ASKING_AFTER_MS);
    try {
      await this.#microphone.open();
      if (this.#over) return this.#microphone.stop();
      for (const kind of ["denied", "missing", "busy", "failed"]) this.events.solved(`microphone_${kind}`);
      this.events.microphone("on");
      if (this.#connected) await this.#microphone.publish();
    } catch (error) {
      this.events.microphone("missing");
      if (error instanceof CallProblem) this.events.problem(error.problem);
    } finally {
      clearTimeout(asking);
    }
    if (!this.#connected) this.#setPhase(before);
  }

  /** Stop or resume what the microphone sends. */
  async mute(muted: boolean): Promise<void> {
    if (await this.#microphone.mute(muted)) this.events.microphone(muted ? "muted" : "on");
  }

  /** Say something in writing. It waits until an agent is there to read it. */
  async send(text: string): Promise<void> {
    this.#outbox.push(text);
    this.transcript.typed(text);
    this.events.transcript();
    await this.#flush();
  }

  /** Let the blocked sound play. Call it from a click. */
  async unblockSound(): Promise<void> {
    if (this.#over || this.#room.canPlaybackAudio) return;
    await this.#room.startAudio();
  }

  /** The caller ends the call. */
  hangUp(): void {
    this.#finish(undefined, true);
  }

  /** Loudness of whoever has the word, 0 to 1. */
  level(): number {
    if (this.#over) return 0;
    return this.#phase === "speaking" ? (this.#ear?.read() ?? 0) : this.#microphone.level();
  }

  #listen(): void {
    const refresh = (): void => this.#refresh();
    this.#room
      .on(RoomEvent.ParticipantConnected, refresh)
      .on(RoomEvent.ParticipantDisconnected, refresh)
      .on(RoomEvent.ParticipantActive, refresh)
      .on(RoomEvent.ParticipantAttributesChanged, refresh)
      .on(RoomEvent.ConnectionStateChanged, refresh)
      .on(RoomEvent.Reconnecting, () => {
        this.#restarting = true;
      })
      .on(RoomEvent.TrackSubscribed, (track) => this.#hear(track))
      .on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((element) => element.remove()))
      .on(RoomEvent.AudioPlaybackStatusChanged, () => this.#playback())
      .on(RoomEvent.Disconnected, (reason) => this.#disconnected(reason));
    receiveTranscript(this.#room, this.transcript, () => this.events.transcript());
    receiveNotices(this.#room, (notice) => {
      this.#noticed = notice.code;
      this.events.problem(notice);
    });
  }

  async #joined(): Promise<void> {
    this.#connected = true;
    this.#restarting = false;
    // The room calls itself connected before its engine sends again; text given to it in between
    // is dropped without a word. The engine's flag falls after this event.
    this.#room.engine.on(EngineEvent.Restarted, () =>
      setTimeout(() => {
        this.#restarting = false;
        this.#refresh();
      }),
    );
    this.#refresh();
    await this.#microphone.publish();
  }

  #agent(): Participant | undefined {
    // Where a dead agent still lingers, the newest is the living one.
    return [...this.#room.remoteParticipants.values()]
      .filter((participant) => participant.isAgent || participant.identity.startsWith("agent-"))
      .sort((a, b) => (b.joinedAt?.getTime() ?? 0) - (a.joinedAt?.getTime() ?? 0))[0];
  }

  #refresh(): void {
    if (!this.#connected || this.#over) return;
    if (this.#room.state !== ConnectionState.Connected) {
      this.#watch.present();
      this.#setPhase("reconnecting");
      return;
    }
    const agent = this.#agent();
    if (agent) {
      this.#watch.present();
      this.events.solved(AGENT_LATE.code);
      this.events.solved(AGENT_ABSENT.code);
    } else {
      this.#watch.absent();
    }
    this.#setPhase(phaseOfAgent(agent?.attributes["lk.agent.state"]));
    void this.#flush();
  }

  #setPhase(phase: Phase): void {
    if (phase === this.#phase || this.#over) return;
    this.#phase = phase;
    if (phase === "thinking" && this.#noticed !== undefined) {
      this.events.solved(this.#noticed);
      this.#noticed = undefined;
    }
    this.events.phase(phase);
  }

  #microphoneGone(): void {
    if (!this.#over) this.events.microphone("missing");
  }

  #hear(track: RemoteTrack): void {
    if (track.kind !== Track.Kind.Audio) return;
    const element = track.attach();
    element.hidden = true;
    document.body.append(element);
    this.#ear?.close();
    this.#ear = new Meter(this.#sound, track.mediaStreamTrack);
  }

  #playback(): void {
    if (this.#over) return;
    if (this.#room.canPlaybackAudio) this.events.solved(SOUND_BLOCKED.code);
    else this.events.problem(SOUND_BLOCKED);
  }

  async #flush(): Promise<void> {
    if (this.#phase !== "listening" && this.#phase !== "thinking" && this.#phase !== "speaking") return;
    // One who is listed but not yet active would not receive it, and nobody would say so.
    if (!this.#agent()?.isActive || this.#restarting) return;
    for (let text = this.#outbox.shift(); text !== undefined; text = this.#outbox.shift()) {
      try {
        await this.#room.localParticipant.sendText(text, { topic: "lk.chat" });
        this.events.solved(NOT_SENT.code);
      } catch {
        // It goes out when the line is back: every change in the room tries again.
        this.#outbox.unshift(text);
        this.events.problem(NOT_SENT);
        return;
      }
    }
  }

  #agentLate(): void {
    if (!this.#session || this.#over) return;
    this.events.problem(AGENT_LATE);
    dispatchAgain(this.#session.session_id).catch((error: unknown) => {
      if (!this.#over) this.events.problem(error instanceof CallProblem ? error.problem : UNREACHABLE);
    });
  }

  #agentLost(): void {
    if (this.#over) return;
    this.events.solved(AGENT_LATE.code);
    this.events.problem(AGENT_ABSENT);
  }

  #disconnected(reason: DisconnectReason | undefined): void {
    if (!this.#connected || this.#over) return;
    switch (reason) {
      case DisconnectReason.ROOM_DELETED:
      case DisconnectReason.PARTICIPANT_REMOVED:
        return this.#finish(undefined, false);
      case DisconnectReason.DUPLICATE_IDENTITY:
        return this.#finish(ELSEWHERE, false);
      default:
        void this.#comeBack();
    }
  }

  async #comeBack(): Promise<void> {
    if (!this.#session) return;
    this.#connected = false;
    this.#watch.present();
    this.#setPhase("reconnecting");
    switch (await rejoin(this.#room, this.#session, () => this.#over)) {
      case "back":
        return this.#joined();
      case "ended":
        return this.#finish(undefined, false);
      case "lost":
        return this.#finish(LOST, false);
    }
  }

  #finish(problem: Problem | undefined, tell: boolean): void {
    if (this.#over) return;
    this.#setPhase(this.#session ? "ended" : "ready");
    this.#over = true;
    this.#watch.present();
    this.#microphone.stop();
    const seconds = (performance.now() - this.#began) / 1000;
    const sessionId = this.#session?.session_id;
    const closed = this.#close(tell ? sessionId : undefined);
    this.events.ended({ sessionId, seconds, problem, closed });
  }

  async #close(sessionId: string | undefined): Promise<void> {
    // First the room: a connection that the box closes under the page is an error to the browser.
    await this.#room.disconnect();
    try {
      if (sessionId !== undefined) await endSession(sessionId);
    } catch {
      // The box ends the session by itself when it sees that the caller has left.
    }
    await this.#sound.close();
  }
}
