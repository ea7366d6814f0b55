import assert from "node:assert/strict";
import { test } from "node:test";
import { bars, seconds, turnOf, waited } from "../src/waterfall";

test("each stage's bar begins where the one before it ended", () => {
  const found = bars({ transcript: 300, end_of_turn: 420, first_token: 500, first_clause: 700, first_sound: 900 });
  assert.deepEqual(
    found.map(({ stage, from, to }) => [stage, from, to]),
    [
      ["transcript", 0, 300],
      ["end_of_turn", 300, 420],
      ["first_token", 420, 500],
      ["first_clause", 500, 700],
      ["first_sound", 700, 900],
    ],
  );
});

test("an answer begun ahead of time is drawn in the order in which things happened", () => {
  const found = bars({ transcript: -40, first_token: 200, end_of_turn: 610, first_clause: 350, first_sound: 640 });
  assert.deepEqual(
    found.map(({ stage, from, to }) => [stage, from, to]),
    [
      ["transcript", 0, 0],
      ["first_token", 0, 200],
      ["first_clause", 200, 350],
      ["end_of_turn", 350, 610],
      ["first_sound", 610, 640],
    ],
  );
});

test("a written turn has no times, so nothing is drawn", () => {
  const none = { transcript: null, end_of_turn: null, first_token: null, first_clause: null, first_sound: null };
  assert.deepEqual(bars(none), []);
  assert.equal(waited(none), undefined);
});

test("what is not a number is left out", () => {
  const odd = { transcript: "300", first_sound: Number.NaN, first_token: 80 } as unknown as Parameters<typeof bars>[0];
  assert.deepEqual(
    bars(odd).map((bar) => bar.stage),
    ["first_token"],
  );
});

test("the wait is the time to the first sound", () => {
  assert.equal(waited({ first_sound: 930 }), 930);
  assert.equal(seconds(930), "0.93 s");
});

test("only a turn that was cut short tells what was heard of it", () => {
  const ms = { first_sound: 900 };
  const cut = { turn: 1, ms, agent_text: "The capital of", interrupted: true };
  assert.deepEqual(turnOf(JSON.stringify(cut)), { turn: 1, ms, cut: "The capital of" });
  assert.deepEqual(turnOf(JSON.stringify({ ...cut, interrupted: false })), { turn: 1, ms });
  assert.equal(turnOf(JSON.stringify({ turn: "1", ms })), undefined);
});
