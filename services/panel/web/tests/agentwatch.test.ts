import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { AgentWatch, LATE_MS, LOST_MS } from "../src/agentwatch";

function watched(): { watch: AgentWatch; seen: string[] } {
  const seen: string[] = [];
  const watch = new AgentWatch({ late: () => seen.push("late"), lost: () => seen.push("lost") });
  return { watch, seen };
}

test("an agent that does not come is late once, then lost", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { watch, seen } = watched();
  watch.absent();
  mock.timers.tick(LATE_MS - 1);
  watch.absent();
  assert.deepEqual(seen, []);
  mock.timers.tick(1);
  assert.deepEqual(seen, ["late"]);
  mock.timers.tick(LOST_MS);
  assert.deepEqual(seen, ["late", "lost"]);
  mock.timers.reset();
});

test("an agent that comes in time is never late", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { watch, seen } = watched();
  watch.absent();
  mock.timers.tick(LATE_MS - 1);
  watch.present();
  mock.timers.tick(LOST_MS);
  assert.deepEqual(seen, []);
  mock.timers.reset();
});

test("each absence is watched anew", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { watch, seen } = watched();
  watch.absent();
  watch.present();
  watch.absent();
  mock.timers.tick(LATE_MS);
  assert.deepEqual(seen, ["late"]);
  mock.timers.reset();
});
