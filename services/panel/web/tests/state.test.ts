import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, duration, inCall, type Phase, phaseOfAgent, words } from "../src/state";

test("the agent's state becomes a phase", () => {
  const expected: [string | undefined, Phase][] = [
    ["listening", "listening"],
    ["idle", "listening"],
    ["thinking", "thinking"],
    ["speaking", "speaking"],
    ["initializing", "waiting"],
    [undefined, "waiting"],
  ];
  for (const [state, phase] of expected) assert.equal(phaseOfAgent(state), phase);
});

test("listening says so only while the microphone is on", () => {
  assert.equal(words("listening", "on", "Joe").title, "Listening");
  assert.equal(words("listening", "muted", "Joe").title, "Muted");
  assert.match(words("listening", "missing", "Joe").detail, /Type to Joe/);
  assert.match(words("listening", "off", "Joe").detail, /Type to Joe/);
});

test("a call is under way from the first question to the last word", () => {
  assert.ok(!inCall("ready"));
  assert.ok(inCall("asking"));
  assert.ok(inCall("reconnecting"));
  assert.ok(inCall("queued"));
  assert.ok(!inCall("ended"));
});

test("durations read as people say them", () => {
  assert.equal(duration(0.4), "0 s");
  assert.equal(duration(59.4), "59 s");
  assert.equal(duration(59.6), "1 min 0 s");
  assert.equal(duration(125), "2 min 5 s");
});

test("nobody who cannot be heard is told that they can", () => {
  assert.match(words("waiting", "on", "Joe").detail, /heard/);
  assert.doesNotMatch(words("waiting", "off", "Joe").detail, /heard/);
});

test("a clock reads as clocks do", () => {
  assert.equal(clock(7.9), "0:07");
  assert.equal(clock(760), "12:40");
});
