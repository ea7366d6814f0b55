// A call by LiveKit's own node client: asks for a token, speaks a question, listens for the answer.
// node spoken_call.mjs BOX_URL API_KEY QUESTION (raw 48 kHz mono s16le); prints `told:` and JSON.
import { AudioFrame, AudioSource, AudioStream, LocalAudioTrack, Room, RoomEvent, TrackKind, TrackPublishOptions, TrackSource, dispose } from "@livekit/rtc-node";
import { readFileSync } from "node:fs";

const [box, key, question] = process.argv.slice(2);
const RATE = 48_000;
const FRAME = RATE / 50;
const LOUD = 0.01;
const GREETING_MS = 20_000;
const ANSWER_MS = 60_000;

const answer = await fetch(`${box}/v1/livekit/token`, {
  method: "POST",
  headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
  body: JSON.stringify({ participant_name: "Node" }),
});
const told = await answer.json();
if (answer.status !== 201) throw new Error(`${answer.status} ${JSON.stringify(told)}`);

const room = new Room();
const loudAt = [];
let lastState = "";
room.on(RoomEvent.TrackSubscribed, async (track) => {
  if (track.kind !== TrackKind.KIND_AUDIO) return;
  for await (const frame of new AudioStream(track, { sampleRate: 16_000, numChannels: 1 })) {
    const power = frame.data.reduce((sum, sample) => sum + (sample / 32768) ** 2, 0) / frame.data.length;
    if (Math.sqrt(power) > LOUD) loudAt.push(Date.now());
  }
});
room.on(RoomEvent.ParticipantAttributesChanged, (changed) => (lastState = changed["lk.agent.state"] ?? lastState));
await room.connect(told.server_url, told.participant_token, { autoSubscribe: true, dynacast: false });

const source = new AudioSource(RATE, 1);
const track = LocalAudioTrack.createAudioTrack("microphone", source);
const options = new TrackPublishOptions();
options.source = TrackSource.SOURCE_MICROPHONE;
await room.localParticipant.publishTrack(track, options);

const bytes = readFileSync(question);
const words = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
const saying = { at: words.length };
let sending = true;
const sent = (async () => {
  // A microphone never stops: faint noise where nothing is said.
  while (sending) {
    const frame = Int16Array.from({ length: FRAME }, (_, i) => words[saying.at + i] ?? Math.round(Math.random() * 10 - 5));
    saying.at += FRAME;
    await source.captureFrame(new AudioFrame(frame, RATE, 1, FRAME));
  }
})();

async function until(holds, within, what) {
  const deadline = Date.now() + within;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`no ${what} within ${within} ms; the agent is ${lastState || "absent"}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

try {
  await until(() => loudAt.length > 20, GREETING_MS, "greeting");
  await until(() => lastState === "listening", GREETING_MS, "end of the greeting");
  saying.at = 0;
  const spokenAt = Date.now() + (words.length / RATE) * 1000;
  await until(() => loudAt.filter((at) => at > spokenAt).length > 20, ANSWER_MS, "answer");
  await until(() => lastState === "listening", ANSWER_MS, "end of the answer");
  const first = loudAt.find((at) => at > spokenAt) - spokenAt;
  console.log("told:" + JSON.stringify({ session_id: told.session_id, room: told.room_name, answered_after_ms: Math.round(first) }));
} finally {
  sending = false;
  await sent;
  await room.disconnect();
  await dispose();
}
