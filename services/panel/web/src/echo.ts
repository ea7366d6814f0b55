/** The test before a call: three seconds recorded and played back, and what the microphone heard meanwhile. */

import { playOn } from "./devices";

export const RECORD_MS = 3_000;
const SAMPLE_EVERY_MS = 50;
// On the scale of meter.ts: 0.15 is -49 dB.
const AUDIBLE = 0.15;
const LOUD_SHARE = 0.9;

export type Verdict = "silent" | "echo" | "good";

/**
 * What the two series of loudness (0 to 1) say.
 *
 * @param spoken while the person was asked to speak.
 * @param played while that was played back and nobody was to speak.
 */
export function judge(spoken: readonly number[], played: readonly number[]): Verdict {
  const said = loud(spoken);
  if (said < AUDIBLE) return "silent";
  const back = loud(played);
  // Half as loud on a scale that follows the ear is still plain to hear for the assistant.
  return back >= AUDIBLE && back > said / 2 ? "echo" : "good";
}

export const VERDICTS: Record<Verdict, string> = {
  silent:
    "Nothing was heard. Choose another microphone, check that it is not switched off, and come closer to it.",
  echo: "Your microphone hears your speaker, so the assistant may interrupt itself. Turn the sound down, or use headphones.",
  good: "Your microphone works. If you heard yourself just now, your speaker does too.",
};

/**
 * Record, play back, judge.
 *
 * @param level the microphone's loudness now, 0 to 1.
 * @param speaker id of the device to play on.
 * @param tell says what the person is to do.
 */
export async function echoTest(
  stream: MediaStream,
  level: () => number,
  speaker: string,
  tell: (text: string) => void,
): Promise<Verdict> {
  const recorder = new MediaRecorder(stream);
  const pieces: Blob[] = [];
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
  const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
  tell("Speak now: say what you like.");
  recorder.start();
  const spoken = await listen(level, RECORD_MS);
  recorder.stop();
  await stopped;
  tell("Now listen, and be quiet for three seconds.");
  const address = URL.createObjectURL(new Blob(pieces, { type: recorder.mimeType }));
  const sound = new Audio(address);
  try {
    await playOn(sound, speaker);
    await sound.play();
    return judge(spoken, await listen(level, RECORD_MS));
  } finally {
    sound.pause();
    URL.revokeObjectURL(address);
  }
}

function listen(level: () => number, ms: number): Promise<number[]> {
  return new Promise((resolve) => {
    const heard: number[] = [];
    const timer = setInterval(() => heard.push(level()), SAMPLE_EVERY_MS);
    setTimeout(() => {
      clearInterval(timer);
      resolve(heard);
    }, ms);
  });
}

function loud(levels: readonly number[]): number {
  const sorted = [...levels].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * LOUD_SHARE)] ?? 0;
}
