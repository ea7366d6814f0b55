import assert from "node:assert/strict";
import { test } from "node:test";
import { badEnd, microphoneProblem, refusal, UNREACHABLE } from "../src/problems";

function thrown(name: string): Error {
  return Object.assign(new Error("inner words"), { name });
}

test("each way a microphone fails has its own sentence", () => {
  const names = ["NotAllowedError", "NotFoundError", "NotReadableError", "TypeError"];
  const problems = names.map((name) => microphoneProblem(thrown(name)));
  assert.equal(new Set(problems.map((problem) => problem.code)).size, names.length);
  for (const problem of problems) {
    assert.ok(problem.hint);
    assert.ok(!problem.message.includes("inner words"));
  }
});

test("the box's own words are shown when it refuses", () => {
  const body = { error: { code: "not_ready", message: "The llm is loading.", hint: "Wait a little." } };
  assert.deepEqual(refusal(503, body), {
    code: "not_ready",
    message: "The llm is loading.",
    hint: "Wait a little.",
  });
});

test("a refusal without words still says what to do", () => {
  for (const body of [null, "<html>", {}, { error: {} }, { error: "no" }]) {
    const problem = refusal(500, body);
    assert.match(problem.message, /500/);
    assert.ok(problem.hint);
  }
});

test("a front door without a panel behind it is a box that does not answer", () => {
  assert.equal(refusal(502, null), UNREACHABLE);
});

test("an end that was not the caller's own is explained", () => {
  assert.equal(badEnd("completed", ""), undefined);
  assert.match(badEnd("completed", "the owner ended the call")?.message ?? "", /^The owner/);
  assert.match(badEnd("completed", "the owner took the link back")?.message ?? "", /link/);
  assert.equal(badEnd("timed_out", "")?.code, "timed_out");
  assert.equal(badEnd("failed", "the agent stopped")?.code, "failed");
});
