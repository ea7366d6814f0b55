/** One call: the session, the room, and what both say. */

import { ConnectionState, DisconnectReason, RoomEvent } from "livekit-client";
import { AgentCare } from "./agentcare";
import type { Session } from "./api";
import type { CallEvents, Gear } from "./callevents";
import { Ear } from "./ear";
import { LineWatch } from "./line";
import { CallerMicrophone } from "./microphone";
import { CallProblem, ELSEWHERE, LOST, NOT_CONNECTED, type Problem, replacedMicrophone } from "./problems";
import { Outbox } from "./outbox";
import { PassingNotices } from "./passing";
import { Seat } from "./queue";
import { join, rejoin } from "./rejoin";
import { agentOf, newRoom } from "./room";
import { type Phase, phaseOfAgent } from "./state";
import { receiveNotices, receiveTranscript } from "./streams";
import { Transcript } from "./transcript";
import { receiveTurns } from "./waterfall";

const ASKING_AFTER_MS = 400;
// Less than the shortest time after which the box signs out a browser that asks for nothing.
const ALIVE_EVERY_MS = 45_000;

export class Call {
  readonly transcript = new Transcript();
  readonly #room = newRoom();
  readonly #care: AgentCare;
  readonly #sound = new AudioContext();
  readonly #line = new LineWatch(this.#room, (text) => this.events.line(text));
  readonly #ear: Ear;
  readonly #microphone: CallerMicrophone;
  readonly #seat: Seat;
  readonly #outbox: Outbox;
  #began = performance.now();
  #phase: Phase = "ready";
  #session: Session | undefined;
  #connected = false;
  #over = false;
  readonly #notices = new PassingNotices((code) => this.events.solved(code));
  #alive: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly gear: Gear,
    private readonly events: CallEvents,
  ) {
    this.#care = new AgentCare(() => gear.api.dispatchAgain(this.#session?.session_id ?? ""), events);
    this.#outbox = new Outbox(this.#room, events);
    this.#ear = new Ear(this.#room, this.#sound, gear.speaker, {
      heard: (track) => this.#line.follow(track),
      problem: (problem) => events.problem(problem),
      solved: (code) => events.solved(code),
    });
    const device = { gone: () => this.#microphoneGone(), replaced: (label: string) => this.#replaced(label) };
    this.#microphone = new CallerMicrophone(this.#room, this.#sound, device, gear.microphone);
    this.#seat = new Seat(gear.api, (beforeYou) => this.#queued(beforeYou));
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
      const session = await this.#seat.take(this.gear.wish);
      if (!session) return;
      this.#session = session;
      this.#began = performance.now();
      if (this.#over) return await this.gear.api.end(session.session_id);
      this.events.seated(session.max_s ?? undefined);
      if (this.#phase === "queued") {
        this.#setPhase("connecting");
        await this.useMicrophone();
        if (this.#over) return;
      }
      await join(this.#room, session);
    } catch (error) {
      this.#finish(error instanceof CallProblem ? error.problem : NOT_CONNECTED, true);
      return;
    }
    await this.#joined();
  }

  /** Ask for the microphone, first or again; without one the call goes on in writing. */
  async useMicrophone(): Promise<void> {
    if (this.gear.textOnly) return this.events.microphone("off");
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

  /** Go on with another microphone; empty: the system's own choice. */
  async useDevice(id: string): Promise<void> {
    await this.#microphone.use(id).catch((error: unknown) => {
      if (error instanceof CallProblem) this.events.problem(error.problem);
    });
  }

  /** Go on playing on another speaker; empty: the system's own choice. */
  useSpeaker(id: string): void {
    this.#ear.useSpeaker(id);
  }

  /** Stop or resume what the microphone sends. */
  async mute(muted: boolean): Promise<void> {
    if (await this.#microphone.mute(muted)) this.events.microphone(muted ? "muted" : "on");
  }

  /** Say something in writing. It waits until an agent is there to read it. */
  async send(text: string): Promise<void> {
    this.#outbox.put(text);
    this.transcript.typed(text);
    this.events.transcript();
    await this.#flush();
  }

  /** Let the blocked sound play. Call it from a click. */
  async unblockSound(): Promise<void> {
    await this.#ear.unblock();
  }

  /** The caller ends the call. */
  hangUp(): void {
    this.#finish(undefined, true);
  }

  /** The page is being left: a place in the queue is given back. A call ends by itself. */
  leaving(): void {
    if (!this.#session) this.#seat.giveUp();
  }

  /** Loudness of whoever has the word, 0 to 1. */
  level(): number {
    if (this.#over) return 0;
    return this.#phase === "speaking" ? this.#ear.level() : this.#microphone.level();
  }

  /** Loudness of the caller, 0 to 1. */
  inputLevel(): number {
    return this.#over ? 0 : this.#microphone.level();
  }

  #listen(): void {
    const refresh = (): void => this.#refresh();
    this.#room
      .on(RoomEvent.ParticipantConnected, refresh)
      .on(RoomEvent.ParticipantDisconnected, refresh)
      .on(RoomEvent.ParticipantActive, refresh)
      .on(RoomEvent.ParticipantAttributesChanged, refresh)
      .on(RoomEvent.ConnectionStateChanged, refresh)
      .on(RoomEvent.Disconnected, (reason) => this.#disconnected(reason));
    receiveTranscript(this.#room, this.transcript, () => this.events.transcript());
    receiveTurns(this.#room, (turn) => {
      if (turn.cut !== undefined) {
        this.transcript.cut(turn.cut);
        this.events.transcript();
      }
      this.transcript.turnEnded();
      this.events.turn(turn);
    });
    receiveNotices(this.#room, (notice) => {
      this.#notices.shown(notice.code);
      this.events.problem(notice);
    });
  }

  async #joined(): Promise<void> {
    this.#connected = true;
    this.#alive ??= setInterval(() => this.#stayKnown(), ALIVE_EVERY_MS);
    this.#outbox.joined(() => this.#refresh());
    this.#refresh();
    await this.#microphone.publish();
  }

  /** Whoever talks is not idle: the box is asked for something, so that it does not sign them out. */
  #stayKnown(): void {
    if (this.#session) void this.gear.api.state(this.#session.session_id).catch(() => undefined);
  }

  #refresh(): void {
    if (!this.#connected || this.#over) return;
    if (this.#room.state !== ConnectionState.Connected) {
      this.#care.rest();
      this.#setPhase("reconnecting");
      return;
    }
    const agent = agentOf(this.#room);
    this.#care.see(agent !== undefined);
    this.#setPhase(phaseOfAgent(agent?.attributes["lk.agent.state"]));
    void this.#flush();
  }

  #setPhase(phase: Phase): void {
    if (phase === this.#phase || this.#over) return;
    this.#phase = phase;
    if (phase === "thinking") this.#notices.pass();
    this.events.phase(phase);
  }

  #microphoneGone(): void {
    if (!this.#over) this.events.microphone("missing");
  }

  #replaced(label: string): void {
    if (!this.#over) this.events.problem(replacedMicrophone(label));
  }

  #queued(beforeYou: number): void {
    if (this.#over) return;
    // Nobody is to feel listened to while they wait.
    this.#microphone.stop();
    this.#setPhase("queued");
    this.events.queued(beforeYou);
  }

  async #flush(): Promise<void> {
    if (this.#phase !== "listening" && this.#phase !== "thinking" && this.#phase !== "speaking") return;
    await this.#outbox.flush();
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
    this.#care.rest();
    this.#setPhase("reconnecting");
    switch (await rejoin(this.#room, this.#session, (id) => this.gear.api.state(id), () => this.#over)) {
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
    this.#care.close();
    clearInterval(this.#alive);
    this.#line.stop();
    this.#ear.close();
    this.#seat.giveUp();
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
      if (sessionId !== undefined) await this.gear.api.end(sessionId);
    } catch {
      // The box ends the session by itself when it sees that the caller has left.
    }
    await this.#sound.close();
  }
}
