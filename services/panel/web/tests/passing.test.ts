import assert from "node:assert/strict";
import { test } from "node:test";
import { gone } from "../src/panel/gone";
import { PassingNotices } from "../src/passing";

test("every notice goes when the next answer begins, not only the latest", () => {
  const solved: string[] = [];
  const notices = new PassingNotices((code) => solved.push(code));
  notices.shown("one_moment");
  notices.shown("models_changing");
  notices.shown("models_changing");
  notices.pass();
  notices.pass();
  assert.deepEqual(solved, ["one_moment", "models_changing"]);
});

test("a call that goes is noticed, one that comes is not", () => {
  assert.ok(gone(["live-a", "live-b"], ["live-b", "live-c"]));
  assert.ok(!gone(["live-a"], ["live-b", "live-a"]));
  assert.ok(!gone([], ["live-a"]));
});
