/** Starts the page: one button, one call at a time. */

import { LogLevel, setLogLevel } from "livekit-client";
import { CallApi, readiness, type Wish } from "../api";
import { Call } from "../call";
import type { Ending } from "../callevents";
import { element, optional } from "../dom";
import { Feedback } from "../feedback";
import { badEnd, type Problem } from "../problems";
import { queueWords } from "../queue";
import { keptRecord, pause } from "../record";
import { SoundPanel } from "../soundpanel";
import { duration, type Microphone } from "../state";
import { View } from "../view";
import { WaterfallView } from "../waterfallview";

const NOT_READY = "not_ready";
const READY_EVERY_MS = 2_000;

setLogLevel(LogLevel.error);
const page = element("talk");
const textOnly = page.dataset["microphone"] === "off";
const api = new CallApi(page.dataset["api"] ?? "", page.dataset["guest"]);
const view = new View();
const waterfall = new WaterfallView();
const feedback = Feedback.on(api);
const persona = optional<HTMLSelectElement>("persona");
const callerName = optional<HTMLInputElement>("caller-name");
let call: Call | undefined;
let microphone: Microphone = "on";
let watching = false;

const sound = optional("sound")
  ? new SoundPanel({
      microphone: (id) => void call?.useDevice(id),
      speaker: (id) => call?.useSpeaker(id),
    })
  : undefined;

function wish(): Wish {
  const name = callerName?.value.trim();
  return { ...(persona ? { persona: persona.value } : {}), ...(name ? { caller_name: name } : {}) };
}

function begin(): void {
  if (call) return;
  view.clearProblems();
  view.showFootnote("");
  view.showLines([]);
  view.showClock(0, undefined);
  view.showLine("");
  waterfall.clear();
  feedback?.hide();
  sound?.callBegins(element("under"));
  let began = performance.now();
  let longest: number | undefined;
  const gear = {
    api,
    wish: wish(),
    microphone: sound?.microphone ?? "",
    speaker: sound?.speaker ?? "",
    textOnly,
  };
  const mine = new Call(gear, {
    phase: (phase) => view.showPhase(phase),
    microphone: (state) => {
      microphone = state;
      view.showMicrophone(state);
    },
    queued: (beforeYou) => view.showDetail(queueWords(beforeYou)),
    seated: (maxS) => {
      began = performance.now();
      longest = maxS;
    },
    transcript: () => view.showLines(mine.transcript.lines),
    turn: (turn) => waterfall.add(turn),
    line: (text) => view.showLine(text),
    problem: (problem) => view.showProblem(problem),
    solved: (code) => view.clearProblem(code),
    ended: (ending) => {
      call = undefined;
      sound?.callEnds();
      void finish(mine, ending);
    },
  });
  call = mine;
  microphone = textOnly ? "off" : "on";
  view.showMicrophone(microphone);
  void mine.start();
  requestAnimationFrame(function follow() {
    if (call !== mine) return view.showLevel(0, 0);
    const own = mine.inputLevel();
    view.showLevel(mine.level(), own);
    sound?.showLevel(own);
    view.showClock((performance.now() - began) / 1000, longest);
    requestAnimationFrame(follow);
  });
}

/** Show how the call ended and what the box kept of it. */
async function finish(over: Call, ending: Ending): Promise<void> {
  view.clearProblems();
  if (ending.problem) view.showProblem(ending.problem);
  if (ending.sessionId === undefined) {
    if (ending.problem?.code === NOT_READY) void waitUntilReady(ending.problem);
    return;
  }
  view.showDetail(`It lasted ${duration(ending.seconds)}.`);
  await ending.closed;
  if (call) return;
  const answers = over.transcript.lines.filter((line) => line.speaker === "agent").length;
  if (answers > 0) feedback?.ask(ending.sessionId);
  const kept = await keptRecord(api, ending.sessionId, answers, () => call !== undefined);
  if (call) return;
  const bad = kept && !ending.problem ? badEnd(kept.state, kept.reason) : undefined;
  if (bad) view.showProblem(bad);
  if (kept?.turns.some((turn) => turn.agent_text)) {
    view.showRecord(kept.turns);
    view.showFootnote("This is what the box keeps of the call.");
  } else if (answers > 0) {
    view.showFootnote(
      kept
        ? "The box keeps no words of this call; these vanish with the page."
        : "The box's record could not be read; these are the words this page received.",
    );
  }
}

/** Say which programs are still to come, until the box takes calls. @param said what it answered already. */
async function waitUntilReady(said?: Problem): Promise<void> {
  if (watching) return;
  watching = true;
  // It refused a moment ago: what it said then is better than what can be told from its programs.
  if (said) await pause(READY_EVERY_MS);
  while (!call) {
    const state = await readiness().catch(() => undefined);
    if (state?.ready || call) break;
    const behind = state?.programs.filter((program) => !program.ready).map((program) => program.name) ?? [];
    view.showProblem({
      code: NOT_READY,
      message: said?.message ?? "The box is not ready yet.",
      hint: behind.length > 0 ? `Still to come: ${behind.join(", ")}.` : "This page watches it.",
    });
    await pause(READY_EVERY_MS);
  }
  view.clearProblem(NOT_READY);
  watching = false;
}

function showPersona(): void {
  const chosen = persona?.selectedOptions[0];
  if (!chosen) return;
  view.showName(chosen.dataset["title"] ?? chosen.label);
  element("retention").textContent = chosen.dataset["retention"] ?? "";
}

view.start.addEventListener("click", begin);
view.end.addEventListener("click", () => call?.hangUp());
view.mute.addEventListener("click", () => {
  if (microphone === "missing") void call?.useMicrophone();
  else void call?.mute(microphone === "on");
});
view.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = view.input.value.trim();
  if (!call || !text) return;
  view.input.value = "";
  void call.send(text);
});
persona?.addEventListener("change", showPersona);
// A browser may bring back what was chosen before the page was loaded again.
showPersona();
document.addEventListener("click", () => void call?.unblockSound().catch(() => undefined));
window.addEventListener("beforeunload", (event) => {
  if (call) event.preventDefault();
});
// A place in the queue is not to be held for somebody who has gone.
window.addEventListener("pagehide", () => call?.leaving());
void waitUntilReady();
