/** The page itself: finds its elements once and shows what it is told. */

import type { Turn } from "./api";
import { element, optional } from "./dom";
import type { Problem } from "./problems";
import { clock, inCall, type Microphone, type Phase, words } from "./state";
import type { Line } from "./transcript";

export class View {
  readonly start = element<HTMLButtonElement>("start");
  readonly mute = element<HTMLButtonElement>("mute");
  readonly end = element<HTMLButtonElement>("end");
  readonly form = element<HTMLFormElement>("write");
  readonly input = element<HTMLInputElement>("message");
  readonly #main = element("talk");
  readonly #orb = element("orb");
  readonly #title = element("title");
  readonly #detail = element("detail");
  readonly #muteLabel = element("mute-label");
  readonly #dock = element("dock");
  readonly #notices = element("call-notices");
  readonly #words = element("words");
  readonly #lines = element("lines");
  readonly #footnote = element("footnote");
  readonly #startLabel = element("start-label");
  readonly #endLabel = element("end-label");
  readonly #clock = element("clock");
  readonly #line = element("line");
  readonly #level = element<HTMLMeterElement>("input-level");
  readonly #before = optional("before");
  #name = this.#main.dataset["name"] ?? "the assistant";
  #phase: Phase = "ready";
  #microphone: Microphone = this.#main.dataset["microphone"] === "off" ? "off" : "on";

  /** Show this phase, and move the keyboard's focus to where the caller goes on. */
  showPhase(phase: Phase): void {
    const before = this.#phase;
    this.#phase = phase;
    this.#update();
    if (inCall(phase) && !inCall(before)) this.end.focus();
    if (!inCall(phase) && inCall(before)) this.start.focus();
  }

  showMicrophone(microphone: Microphone): void {
    this.#microphone = microphone;
    this.#update();
  }

  /** Somebody else answers from now on. */
  showName(name: string): void {
    this.#name = name;
    this.#update();
  }

  /** Say how long the call has lasted, and how long it may, in seconds. */
  showClock(seconds: number, maxS: number | undefined): void {
    const text = maxS === undefined ? clock(seconds) : `${clock(seconds)} of ${clock(maxS)}`;
    if (this.#clock.textContent !== text) this.#clock.textContent = text;
  }

  /** Say how good the connection is. */
  showLine(text: string): void {
    this.#line.textContent = text;
  }

  /** Say something under the title, e.g. how long the call was. */
  showDetail(text: string): void {
    this.#detail.textContent = text;
  }

  /** Show or replace the notice of this problem's code. */
  showProblem(problem: Problem): void {
    this.clearProblem(problem.code);
    const notice = document.createElement("div");
    notice.className = "notice";
    notice.dataset["code"] = problem.code;
    const sentence = document.createElement("p");
    const what = document.createElement("strong");
    what.textContent = problem.message;
    sentence.append(what, problem.hint ? ` ${problem.hint}` : "");
    notice.append(sentence);
    this.#notices.append(notice);
  }

  clearProblem(code: string): void {
    for (const notice of [...this.#notices.children]) {
      if ((notice as HTMLElement).dataset["code"] === code) notice.remove();
    }
  }

  clearProblems(): void {
    this.#notices.replaceChildren();
  }

  /** Show the words of the call as they stand now. */
  showLines(lines: readonly Line[]): void {
    this.#words.hidden = lines.length === 0;
    lines.forEach((line, place) => {
      const item = this.#itemAt(place, line.key, line.speaker === "you" ? "You" : this.#name);
      item.className = `line ${line.speaker}${line.final ? "" : " partial"}${line.typed ? " typed" : ""}`;
      const said = item.lastElementChild as HTMLElement;
      const text = line.text.trim();
      if (said.textContent !== text) said.textContent = text;
    });
    while (this.#lines.children.length > lines.length) this.#lines.lastElementChild?.remove();
    this.#words.scrollTop = this.#words.scrollHeight;
  }

  /** Show what the box kept of the call. */
  showRecord(turns: readonly Turn[]): void {
    const lines: Line[] = [];
    for (const turn of turns) {
      const add = (speaker: Line["speaker"], text: string | null): void => {
        if (text) lines.push({ key: `${turn.index}-${speaker}`, speaker, text, final: true, typed: false });
      };
      add("you", turn.user_text);
      add("agent", turn.agent_text && turn.interrupted ? `${turn.agent_text} …` : turn.agent_text);
    }
    this.#lines.replaceChildren();
    this.showLines(lines);
    this.#words.scrollTop = 0;
  }

  /** Say below the words where they come from; empty: nothing. */
  showFootnote(text: string): void {
    this.#footnote.textContent = text;
    this.#footnote.hidden = text === "";
  }

  /** Let the indicator follow the loudness of whoever speaks, and the meter the caller's, 0 to 1. */
  showLevel(level: number, own: number): void {
    this.#orb.style.setProperty("--level", level.toFixed(3));
    this.#level.value = own;
  }

  #update(): void {
    const { title, detail } = words(this.#phase, this.#microphone, this.#name);
    const calling = inCall(this.#phase);
    this.#main.dataset["phase"] = this.#phase;
    this.#main.dataset["microphone"] = this.#microphone;
    if (this.#title.textContent !== title) this.#title.textContent = title;
    this.#detail.textContent = detail;
    this.start.hidden = calling;
    if (this.#before) this.#before.hidden = calling;
    this.#endLabel.textContent = this.#phase === "queued" ? "Stop waiting" : "End call";
    this.#startLabel.textContent = this.#phase === "ended" ? "Talk again" : this.#microphone === "off" ? "Start writing" : "Start talking";
    this.#dock.hidden = !calling;
    this.mute.setAttribute("aria-pressed", String(this.#microphone === "muted"));
    this.mute.disabled = this.#phase === "asking";
    this.#muteLabel.textContent =
      this.#microphone === "missing" ? "Use microphone" : this.#microphone === "muted" ? "Unmute" : "Mute";
  }

  #itemAt(place: number, key: string, name: string): HTMLElement {
    const known = this.#lines.children[place] as HTMLElement | undefined;
    if (known?.dataset["key"] === key) return known;
    const item = document.createElement("li");
    item.dataset["key"] = key;
    const who = document.createElement("span");
    who.className = "who";
    who.textContent = name;
    const said = document.createElement("p");
    said.className = "said";
    item.append(who, said);
    if (known) this.#lines.insertBefore(item, known);
    else this.#lines.append(item);
    return item;
  }
}
