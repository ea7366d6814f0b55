import assert from "node:assert/strict";
import test from "node:test";
import { saidBy } from "../src/panel/notices";

test("what the box says went wrong is what people read", () => {
  const body = JSON.stringify({ error: { code: "x", message: "It is full.", hint: "Wait." } });
  assert.deepEqual(saidBy(503, body), { message: "It is full.", hint: "Wait." });
});

test("an answer without words gets a plain sentence, never its own text", () => {
  for (const body of ["", "<html>502</html>", "null", "[]", '{"error": 7}', '{"error": {"message": {"a": 1}}}', '{"detail": "x"}']) {
    for (const status of [400, 502]) {
      const said = saidBy(status, body);
      assert.match(said.message, /\.$/);
      assert.ok(said.hint);
      assert.ok(!said.message.includes("html"));
    }
  }
});

test("a hint that is no text is left out", () => {
  assert.deepEqual(saidBy(400, '{"error": {"message": "No.", "hint": 5}}'), { message: "No.", hint: "" });
});
