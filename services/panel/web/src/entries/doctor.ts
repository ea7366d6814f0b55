/** The doctor's page: what this browser finds on its way to the box, and the spoken loop. */

import { constraints, remembered } from "../devices";
import { clockFinding, type Finding, levelFinding, microphoneFinding, pathFinding, type PathResult, roundTripFinding, secureFinding } from "../doctor/findings";
import { type TestRoom, type TestRooms, tryPath } from "../doctor/paths";
import { record } from "../doctor/recording";
import { show, showRunning, showSkipped } from "../doctor/rows";
import { element } from "../dom";
import { Meter } from "../meter";
import { askJson, Failure } from "../panel/ask";
import { AWAY, saidBy } from "../panel/notices";

const ASKS = 7;
const SPEAK_MS = 4_000;
const FRAME_MS = 50;
const LOOP_PATIENCE_MS = 150_000;

interface Step extends Finding {
  name: "ear" | "voice";
  ms: number;
}

interface Loop {
  heard: string;
  said: string;
  sound_base64: string;
  steps: Step[];
}

const button = element<HTMLButtonElement>("check-browser");
const speak = element<HTMLButtonElement>("loop-speak");
const sample = element<HTMLButtonElement>("loop-sample");
const meter = element<HTMLMeterElement>("level");

/** Disable the buttons while this runs: two tests at once would disturb each other. */
async function alone(work: () => Promise<void>): Promise<void> {
  for (const one of [button, speak, sample]) one.disabled = true;
  try {
    await work();
  } finally {
    for (const one of [button, speak, sample]) one.disabled = false;
  }
}

async function checkBrowser(): Promise<void> {
  const devices = Boolean(navigator.mediaDevices);
  const secure = secureFinding(window.isSecureContext, devices, location.origin);
  show("secure", secure);
  await checkAnswers();
  if (secure.state === "fail") showSkipped("microphone", "This needs a secure address first.");
  else await checkMicrophone();
  await checkPaths();
}

/** Round trips, and what the box's clock says meanwhile. */
async function checkAnswers(): Promise<void> {
  showRunning("roundtrip", "Asking the box a few times.");
  const ms: number[] = [];
  let ahead: number | undefined;
  for (let n = 0; n < ASKS; n++) {
    const began = performance.now();
    try {
      const answer = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(5_000) });
      await answer.text();
      const took = performance.now() - began;
      // The first one may have had to open the connection.
      if (n > 0) ms.push(took);
      const date = Date.parse(answer.headers.get("Date") ?? "");
      // The header has whole seconds: half of one is the best guess at the rest.
      if (!Number.isNaN(date)) ahead = date + 500 - (Date.now() - took / 2);
    } catch {
      break;
    }
  }
  show("roundtrip", roundTripFinding(ms));
  if (ahead === undefined) showSkipped("clock", "The box did not say what time it is.");
  else show("clock", clockFinding(ahead));
}

async function openMicrophone(): Promise<MediaStream | undefined> {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: constraints(remembered("audioinput")) });
  } catch (error) {
    show("microphone", microphoneFinding(error));
    return undefined;
  }
}

async function checkMicrophone(): Promise<void> {
  showRunning("microphone", "Allow the microphone if the browser asks, then say something.");
  const stream = await openMicrophone();
  if (!stream) return;
  const loudest = await watchLevel(stream, SPEAK_MS);
  show("microphone", levelFinding(loudest, stream.getAudioTracks()[0]?.label ?? ""));
  stop(stream);
}

/** Show the level. @returns the loudest moment. */
async function watchLevel(stream: MediaStream, ms: number): Promise<number> {
  const context = new AudioContext();
  const track = stream.getAudioTracks()[0];
  if (!track) return 0;
  const ear = new Meter(context, track);
  let loudest = 0;
  const until = performance.now() + ms;
  element("level-row").hidden = false;
  while (performance.now() < until) {
    const now = ear.read();
    meter.value = now;
    loudest = Math.max(loudest, now);
    await new Promise((resolve) => setTimeout(resolve, FRAME_MS));
  }
  element("level-row").hidden = true;
  ear.close();
  await context.close();
  return loudest;
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

const TEST_ROOMS: TestRooms = {
  open: () => askJson<TestRoom>("POST", "/api/v1/doctor/rooms"),
  // A room that could not be closed goes by itself.
  close: (test) => askJson<void>("DELETE", `/api/v1/doctor/rooms/${test.room_name}`).catch(() => undefined),
};

async function checkPaths(): Promise<void> {
  showRunning("udp", "Joining a test room over UDP alone.");
  showRunning("tcp", "After that, over TCP alone.");
  try {
    const udp = await tryPath(TEST_ROOMS, "udp");
    show("udp", pathFinding("udp", udp, udp.test.udp_port));
    const tcp = await tryPath(TEST_ROOMS, "tcp");
    show("udp", pathFinding("udp", udp, udp.test.udp_port, passes(tcp)));
    show("tcp", pathFinding("tcp", tcp, tcp.test.tcp_port, passes(udp)));
  } catch (error) {
    const said = error instanceof Failure ? error.said : { message: "The test could not be made.", hint: "" };
    for (const name of ["udp", "tcp"]) show(name, { state: "fail", message: said.message, hint: said.hint ?? "" });
  }
}

function passes(result: PathResult): boolean {
  return result.connected;
}

async function loopSpoken(): Promise<void> {
  showRunning("ear", "Speak now, for example: what time do you open?");
  showSkipped("voice", "");
  const stream = navigator.mediaDevices ? await openMicrophone() : undefined;
  if (!stream) return showSkipped("ear", "There is no microphone to speak into; use the recorded question.");
  const [sound] = await Promise.all([record(stream, SPEAK_MS).catch(() => undefined), watchLevel(stream, SPEAK_MS)]);
  stop(stream);
  if (!sound) return showSkipped("ear", "This browser cannot record; use the recorded question.");
  await loop(sound);
}

async function loop(sound?: Blob): Promise<void> {
  showRunning("ear", "The box listens to it.");
  showRunning("voice", "Then it answers.");
  let found: Loop;
  try {
    found = await sendSound(sound);
  } catch (error) {
    const said = error instanceof Failure ? error.said : AWAY;
    show("ear", { state: "fail", message: said.message, hint: said.hint ?? "" });
    return showSkipped("voice", "");
  }
  showSkipped("voice", "There was nothing to say.");
  for (const step of found.steps) {
    const words = step.name === "ear" ? found.heard && `It heard: “${found.heard}”` : `It says: “${found.said}”`;
    show(step.name, { ...step, message: `${words || step.message} (${(step.ms / 1000).toFixed(1)} s)` });
  }
  if (found.sound_base64) await play(found.sound_base64);
}

async function sendSound(sound: Blob | undefined): Promise<Loop> {
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(`/api/v1/doctor/loop${sound ? "" : "?sample=true"}`, {
      method: "POST",
      headers: { "X-Earshot-Client": "1", "Content-Type": "audio/wav" },
      signal: AbortSignal.timeout(LOOP_PATIENCE_MS),
      ...(sound ? { body: sound } : {}),
    });
    text = await answer.text();
  } catch {
    throw new Failure(AWAY);
  }
  if (!answer.ok) throw new Failure(saidBy(answer.status, text), answer.status);
  return JSON.parse(text) as Loop;
}

async function play(base64: string): Promise<void> {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
  const sound = new Audio(address);
  sound.addEventListener("ended", () => URL.revokeObjectURL(address));
  await sound.play().catch(() => {
    show("voice", {
      state: "warn",
      message: "The box answered, and this browser holds the sound back.",
      hint: "Allow sound beside the page's address, then try again.",
    });
  });
}

button.addEventListener("click", () => void alone(checkBrowser));
speak.addEventListener("click", () => void alone(loopSpoken));
sample.addEventListener("click", () => void alone(() => loop()));
