/** What the box sends into the room as text: words on `lk.transcription`, notices on their own topic. */

import { type Room, RoomEvent, type TextStreamReader } from "livekit-client";
import type { Problem } from "./problems";
import type { Transcript } from "./transcript";

/** Put both sides' words into the transcript as they arrive. */
export function receiveTranscript(room: Room, transcript: Transcript, changed: () => void): void {
  let arrivals = 0;
  // The legacy transcription event carries the same words again: this topic is the only source.
  room.registerTextStreamHandler("lk.transcription", (reader, from) => {
    arrivals += 1;
    const segment = reader.info.attributes?.["lk.segment_id"] ?? reader.info.id;
    const order = arrivals;
    const receive =
      from.identity === room.localParticipant.identity
        ? receiveHeard(reader, segment, order, transcript, changed)
        : receiveSpoken(reader, segment, transcript, changed);
    // A stream breaks off when its sender dies; what came before stays.
    receive.catch(() => changed());
  });
}

async function receiveHeard(
  reader: TextStreamReader,
  segment: string,
  order: number,
  transcript: Transcript,
  changed: () => void,
): Promise<void> {
  const text = await reader.readAll();
  // Read after the end: the closing packet may change the attributes.
  const final = reader.info.attributes?.["lk.transcription_final"] === "true";
  transcript.heard(segment, text, final, order);
  changed();
}

async function receiveSpoken(
  reader: TextStreamReader,
  segment: string,
  transcript: Transcript,
  changed: () => void,
): Promise<void> {
  try {
    for await (const piece of reader) {
      transcript.spoken(segment, piece);
      changed();
    }
  } finally {
    transcript.spokenEnd(segment);
    changed();
  }
}

const NOTICES = "appliance.notice";

/** Hand on what the box has to say about itself: its agent as text, the panel as single packets. */
export function receiveNotices(room: Room, notice: (problem: Problem) => void): void {
  const receive = (text: string): void => {
    const { code, message } = JSON.parse(text) as { code?: unknown; message?: unknown };
    if (typeof message === "string") notice({ code: String(code ?? "notice"), message, hint: "" });
  };
  room.registerTextStreamHandler(NOTICES, (reader) => {
    // One that breaks off has no words to show.
    reader.readAll().then(receive).catch(() => undefined);
  });
  room.on(RoomEvent.DataReceived, (payload, from, _kind, topic) => {
    // Only the box itself sends without being in the room.
    if (topic !== NOTICES || from !== undefined) return;
    try {
      receive(new TextDecoder().decode(payload));
    } catch {
      // Not written for this page.
    }
  });
}
