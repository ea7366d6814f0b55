import assert from "node:assert/strict";
import { test } from "node:test";
import { judge } from "../src/echo";

const SPEECH = [0, 0.1, 0.5, 0.7, 0.6, 0.6, 0.7, 0.2, 0.1, 0.5];

test("nothing to hear is said", () => {
  assert.equal(judge([0, 0.05, 0.1, 0.05], [0, 0, 0]), "silent");
  assert.equal(judge([], []), "silent");
});

test("a microphone that hears the speaker is an echo", () => {
  assert.equal(judge(SPEECH, [0, 0.4, 0.5, 0.45, 0.4, 0.4]), "echo");
});

test("a quiet room while it is played back is good", () => {
  assert.equal(judge(SPEECH, [0, 0.05, 0.1, 0.02]), "good");
});

test("one click during the playback is no echo", () => {
  assert.equal(judge(SPEECH, [...Array<number>(30).fill(0), 0.9]), "good");
});
