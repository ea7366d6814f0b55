/** Microphone and speaker: which ones, how loud, and a test before the call. */

import { canChooseSpeaker, choices, constraints, type Kind, pick, remember, remembered } from "./devices";
import { element } from "./dom";
import { echoTest, VERDICTS } from "./echo";
import { Meter } from "./meter";
import { CallProblem, INSECURE, microphoneProblem } from "./problems";

export interface SoundChoices {
  microphone(id: string): void;
  speaker(id: string): void;
}

/** The stream that shows the level before a call. */
interface Trial {
  stream: MediaStream;
  context: AudioContext;
  meter: Meter;
}

export class SoundPanel {
  readonly #box = element<HTMLDetailsElement>("sound");
  readonly #selects: Record<Kind, HTMLSelectElement> = {
    audioinput: element<HTMLSelectElement>("microphone"),
    audiooutput: element<HTMLSelectElement>("speaker"),
  };
  readonly #level = element<HTMLMeterElement>("level");
  readonly #test = element<HTMLButtonElement>("echo");
  readonly #testPart = element("echo-part");
  readonly #result = element("echo-result");
  readonly #wanted: Record<Kind, string> = {
    audioinput: remembered("audioinput"),
    audiooutput: remembered("audiooutput"),
  };
  readonly #home = this.#box.parentElement;
  #trial: Trial | undefined;
  #calling = false;
  #opening = 0;

  constructor(private readonly changed: SoundChoices) {
    element("speaker-field").hidden = !canChooseSpeaker();
    for (const kind of ["audioinput", "audiooutput"] as const) {
      this.#selects[kind].addEventListener("change", () => this.#choose(kind));
    }
    this.#box.addEventListener("toggle", () => void (this.#box.open ? this.#open() : this.#close()));
    this.#test.addEventListener("click", () => void this.#runTest());
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.#list());
  }

  /** The chosen microphone's id; empty: the system's own choice. */
  get microphone(): string {
    return this.#wanted.audioinput;
  }

  /** The chosen speaker's id; empty: the system's own choice. */
  get speaker(): string {
    return this.#wanted.audiooutput;
  }

  /** A call begins: its own microphone is used, and the panel moves to the call's controls. */
  callBegins(place: Element): void {
    this.#calling = true;
    this.#close();
    this.#box.open = false;
    this.#testPart.hidden = true;
    place.append(this.#box);
  }

  callEnds(): void {
    this.#calling = false;
    this.#box.open = false;
    this.#testPart.hidden = false;
    this.#home?.append(this.#box);
  }

  /** Show how loud the caller is, 0 to 1. */
  showLevel(level: number): void {
    this.#level.value = level;
  }

  async #open(): Promise<void> {
    if (!this.#calling) await this.#try();
    await this.#list();
  }

  /** Open the microphone for this page alone, so that its level can be seen and its name is known. */
  async #try(): Promise<void> {
    this.#close();
    const mine = (this.#opening += 1);
    try {
      if (!window.isSecureContext || !navigator.mediaDevices) throw new CallProblem(INSECURE);
      const stream = await navigator.mediaDevices
        .getUserMedia({ audio: constraints(this.microphone) })
        .catch((error: unknown) => {
          throw new CallProblem(microphoneProblem(error));
        });
      const track = stream.getAudioTracks()[0];
      if (!track || mine !== this.#opening) return stream.getTracks().forEach((one) => one.stop());
      const context = new AudioContext();
      const trial = { stream, context, meter: new Meter(context, track) };
      this.#trial = trial;
      void context.resume();
      track.addEventListener("ended", () => {
        if (this.#trial === trial) void this.#try();
      });
      this.#test.disabled = false;
      requestAnimationFrame(() => this.#follow(trial));
    } catch (error) {
      if (error instanceof CallProblem) {
        const { message, hint } = error.problem;
        this.#result.textContent = `${message} ${hint}`;
      }
    }
  }

  #follow(trial: Trial): void {
    if (this.#trial !== trial) return;
    this.showLevel(trial.meter.read());
    requestAnimationFrame(() => this.#follow(trial));
  }

  #close(): void {
    this.#opening += 1;
    const trial = this.#trial;
    this.#trial = undefined;
    this.#test.disabled = true;
    this.showLevel(0);
    if (!trial) return;
    trial.stream.getTracks().forEach((track) => track.stop());
    trial.meter.close();
    void trial.context.close();
  }

  async #runTest(): Promise<void> {
    const trial = this.#trial;
    if (!trial) return;
    this.#test.disabled = true;
    const tell = (text: string): void => {
      this.#result.textContent = text;
    };
    try {
      const verdict = await echoTest(trial.stream, () => trial.meter.read(), this.speaker, tell);
      if (this.#trial === trial) tell(VERDICTS[verdict]);
    } catch {
      // The device was taken away meanwhile, or the browser cannot record.
      if (this.#trial === trial) tell("The test did not work in this browser. The call itself may.");
    }
    this.#test.disabled = this.#trial === undefined;
    // A disabled button loses the keyboard's focus.
    if (document.activeElement === document.body) this.#test.focus();
  }

  async #list(): Promise<void> {
    const found = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    for (const kind of ["audioinput", "audiooutput"] as const) {
      const devices = choices(found, kind);
      const select = this.#selects[kind];
      select.replaceChildren(...devices.map(({ id, label }) => new Option(label, id)));
      select.value = pick(devices, this.#wanted[kind]);
    }
  }

  #choose(kind: Kind): void {
    const id = this.#selects[kind].value;
    this.#wanted[kind] = id;
    remember(kind, id);
    if (kind === "audiooutput") return this.changed.speaker(id);
    if (this.#calling) this.changed.microphone(id);
    else void this.#try();
  }
}
