/** Starts the page: one button, one call at a time. */

import { LogLevel, setLogLevel } from "livekit-client";
import { fetchTranscript, type Kept, readiness } from "../api";
import { Call, type Ending } from "../call";
import { badEnd } from "../problems";
import { duration, type Microphone } from "../state";
import { View } from "../view";

const NOT_READY = "not_ready";
const RECORD_TRIES = 5;
const RECORD_EVERY_MS = 600;
const READY_EVERY_MS = 2_000;

setLogLevel(LogLevel.error);
const view = new View();
let call: Call | undefined;
let microphone: Microphone = "on";
let watching = false;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function begin(): void {
  if (call) return;
  view.clearProblems();
  view.showFootnote("");
  view.showLines([]);
  const mine = new Call({
    phase: (phase) => view.showPhase(phase),
    microphone: (state) => {
      microphone = state;
      view.showMicrophone(state);
    },
    transcript: () => view.showLines(mine.transcript.lines),
    problem: (problem) => view.showProblem(problem),
    solved: (code) => view.clearProblem(code),
    ended: (ending) => {
      call = undefined;
      void finish(mine, ending);
    },
  });
  call = mine;
  microphone = "on";
  view.showMicrophone(microphone);
  void mine.start();
  requestAnimationFrame(function follow() {
    if (call !== mine) return view.showLevel(0);
    view.showLevel(mine.level());
    requestAnimationFrame(follow);
  });
}

/** Show how the call ended and what the box kept of it. */
async function finish(over: Call, ending: Ending): Promise<void> {
  view.clearProblems();
  if (ending.problem) view.showProblem(ending.problem);
  if (ending.sessionId === undefined) {
    if (ending.problem?.code === NOT_READY) void waitUntilReady();
    return;
  }
  view.showDetail(`It lasted ${duration(ending.seconds)}.`);
  await ending.closed;
  const answers = over.transcript.lines.filter((line) => line.speaker === "agent").length;
  const kept = await keptRecord(ending.sessionId, answers);
  if (call) return;
  const bad = kept && !ending.problem ? badEnd(kept.state) : undefined;
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

/** The record of a call, asked for until it holds all `answers`; undefined: it cannot be read. */
async function keptRecord(sessionId: string, answers: number): Promise<Kept | undefined> {
  let kept: Kept | undefined;
  for (let attempt = 0; attempt < RECORD_TRIES && !call; attempt += 1) {
    // The agent writes the last turn as it leaves, so the record may still be growing.
    if (attempt > 0) await pause(RECORD_EVERY_MS);
    try {
      kept = await fetchTranscript(sessionId);
    } catch {
      return kept;
    }
    if (!kept.keep_transcript || kept.turns.filter((turn) => turn.agent_text).length >= answers) break;
  }
  return kept;
}

/** Say which programs are still to come, until the box takes calls. */
async function waitUntilReady(): Promise<void> {
  if (watching) return;
  watching = true;
  while (!call) {
    const state = await readiness().catch(() => undefined);
    if (state?.ready || call) break;
    const behind = state?.programs.filter((program) => !program.ready).map((program) => program.name) ?? [];
    view.showProblem({
      code: NOT_READY,
      message: "The box is not ready yet.",
      hint: behind.length > 0 ? `Still to come: ${behind.join(", ")}.` : "This page watches it.",
    });
    await pause(READY_EVERY_MS);
  }
  view.clearProblem(NOT_READY);
  watching = false;
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
document.addEventListener("click", () => void call?.unblockSound().catch(() => undefined));
void waitUntilReady();
