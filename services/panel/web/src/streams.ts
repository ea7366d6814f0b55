/** What the box sends into the room as text: words on `lk.transcription`, notices on their own topic. */

import type { Room, TextStreamReader } from "livekit-client";
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

/** Hand on what the box has to say about itself. */
export function receiveNotices(room: Room, notice: (problem: Problem) => void): void {
  room.registerTextStreamHandler("appliance.notice", (reader) => {
    reader
      .readAll()
      .then((text) => {
        const { code, message } = JSON.parse(text) as { code?: unknown; message?: unknown };
        if (typeof message === "string") notice({ code: String(code ?? "notice"), message, hint: "" });
      })
      .catch(() => undefined);
  });
}
