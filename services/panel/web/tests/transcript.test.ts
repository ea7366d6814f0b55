import assert from "node:assert/strict";
import { test } from "node:test";
import { Transcript } from "../src/transcript";

function shown(transcript: Transcript): string[] {
  return transcript.lines.map((line) => `${line.speaker}${line.final ? "" : "…"}: ${line.text}`);
}

test("partials of one utterance replace each other", () => {
  const transcript = new Transcript();
  transcript.heard("s1", "What is", false, 1);
  transcript.heard("s1", "What is the capital", false, 2);
  assert.deepEqual(shown(transcript), ["you…: What is the capital"]);
});

test("the same text three times is one line", () => {
  const transcript = new Transcript();
  transcript.heard("s1", "Hello there.", false, 1);
  transcript.heard("s1", "Hello there.", false, 2);
  transcript.heard("s1", "Hello there.", true, 3);
  assert.deepEqual(shown(transcript), ["you: Hello there."]);
});

test("an update that was overtaken changes nothing", () => {
  const transcript = new Transcript();
  transcript.heard("s1", "newer", false, 2);
  transcript.heard("s1", "older", false, 1);
  assert.deepEqual(shown(transcript), ["you…: newer"]);
});

test("a final text stays, whatever comes late", () => {
  const transcript = new Transcript();
  transcript.heard("s1", "Done.", true, 1);
  transcript.heard("s1", "Do", false, 2);
  assert.deepEqual(shown(transcript), ["you: Done."]);
});

test("the agent's pieces are joined and end", () => {
  const transcript = new Transcript();
  transcript.spoken("a1", "Bees ");
  transcript.spoken("a1", "make honey.");
  assert.deepEqual(shown(transcript), ["agent…: Bees make honey."]);
  transcript.spokenEnd("a1");
  assert.deepEqual(shown(transcript), ["agent: Bees make honey."]);
});

test("lines keep the order in which they began", () => {
  const transcript = new Transcript();
  transcript.spoken("a1", "One");
  transcript.heard("s1", "Two", false, 1);
  transcript.spoken("a1", " and more");
  assert.deepEqual(shown(transcript), ["agent…: One and more", "you…: Two"]);
});

test("both sides may use the same segment id", () => {
  const transcript = new Transcript();
  transcript.heard("x", "Mine", true, 1);
  transcript.spoken("x", "Yours");
  assert.deepEqual(shown(transcript), ["you: Mine", "agent…: Yours"]);
});

test("a line without words is not shown", () => {
  const transcript = new Transcript();
  transcript.heard("s1", " ", true, 1);
  transcript.spokenEnd("a1");
  assert.deepEqual(shown(transcript), []);
});

test("each typed message is a line of its own", () => {
  const transcript = new Transcript();
  transcript.typed("Hello");
  transcript.typed("Hello");
  assert.deepEqual(shown(transcript), ["you: Hello", "you: Hello"]);
  assert.ok(transcript.lines.every((line) => line.typed));
});

test("an answer that was cut short reads as it was heard", () => {
  const transcript = new Transcript();
  transcript.spoken("a1", "The capital of Italy is");
  transcript.spokenEnd("a1");
  transcript.heard("s1", "Wait.", true, 1);
  transcript.cut("The capital of Italy");
  assert.deepEqual(shown(transcript), ["agent: The capital of Italy", "you: Wait."]);
});

test("a cut that belongs to no line changes none", () => {
  const transcript = new Transcript();
  transcript.spoken("a1", "The capital of Italy is Rome.");
  transcript.cut("Something else");
  assert.deepEqual(shown(transcript), ["agent…: The capital of Italy is Rome."]);
});

test("words that nobody heard are not kept", () => {
  const transcript = new Transcript();
  transcript.heard("s1", "Where is Rome?", true, 1);
  transcript.spoken("a1", "Rome is in Italy.");
  transcript.spokenEnd("a1");
  transcript.turnEnded();
  transcript.heard("s2", "And Paris?", true, 2);
  transcript.spoken("a2", "Par");
  transcript.heard("s3", "Wait", false, 3);
  transcript.spokenEnd("a2");
  transcript.cut("");
  assert.deepEqual(shown(transcript), ["you: Where is Rome?", "agent: Rome is in Italy.", "you: And Paris?", "you…: Wait"]);
});

test("an answer that never began takes no words from the one before", () => {
  const transcript = new Transcript();
  transcript.spoken("a1", "Rome is in Italy.");
  transcript.spokenEnd("a1");
  transcript.turnEnded();
  transcript.heard("s2", "And Paris?", true, 1);
  transcript.cut("");
  transcript.turnEnded();
  assert.deepEqual(shown(transcript), ["agent: Rome is in Italy.", "you: And Paris?"]);
});

test("a line that goes on is this turn's, though it began before the last one was told", () => {
  const transcript = new Transcript();
  transcript.spoken("a1", "Par");
  transcript.turnEnded();
  transcript.cut("");
  assert.deepEqual(shown(transcript), []);
});
