import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { Place, Session, Wish } from "../src/api";
import { BoxFull, CallProblem, UNREACHABLE } from "../src/problems";
import { queueWords, Seat, type SeatApi } from "../src/queue";

const SESSION: Session = { session_id: "s", room_name: "r", url: "ws://box", token: "t" };
const FULL = { code: "box_full", message: "All seats are taken.", hint: "" };

function place(beforeYou: number, yourTurn = false, ticket = "t1"): Place {
  return { ticket, before_you: beforeYou, your_turn: yourTurn, poll_s: 2 };
}

/** A box that gives these answers, one after another. */
class FakeBox implements SeatApi {
  readonly wishes: Wish[] = [];
  readonly left: string[] = [];
  constructor(
    private readonly opens: (Session | Error)[],
    private readonly places: (Place | Error)[],
  ) {}

  async open(wish: Wish): Promise<Session> {
    this.wishes.push(wish);
    return given(this.opens);
  }

  async place(): Promise<Place> {
    return given(this.places);
  }

  async leave(ticket: string): Promise<void> {
    this.left.push(ticket);
  }
}

function given<T>(answers: (T | Error)[]): T {
  const next = answers.shift();
  if (next === undefined) throw new Error("nothing more was expected");
  if (next instanceof Error) throw next;
  return next;
}

/** Let the promises and the poll timers of a waiting seat go on. */
async function polls(count: number): Promise<void> {
  for (let done = 0; done < count; done += 1) {
    for (let step = 0; step < 10; step += 1) await Promise.resolve();
    mock.timers.tick(2_000);
  }
  for (let step = 0; step < 10; step += 1) await Promise.resolve();
}

test("a free seat is taken at once", async () => {
  const box = new FakeBox([SESSION], []);
  assert.equal(await new Seat(box, () => assert.fail("nobody waits")).take({ persona: "joe" }), SESSION);
  assert.deepEqual(box.wishes, [{ persona: "joe" }]);
});

test("who waits moves up and enters with the ticket", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const seen: number[] = [];
  const box = new FakeBox([new BoxFull(FULL, place(2)), SESSION], [place(1), place(0), place(0, true)]);
  const taken = new Seat(box, (before) => seen.push(before)).take({});
  await polls(3);
  mock.timers.reset();
  assert.equal(await taken, SESSION);
  assert.deepEqual(seen, [2, 1, 0]);
  assert.deepEqual(box.wishes, [{}, { ticket: "t1" }]);
});

test("a box that does not answer for a moment costs no place", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const box = new FakeBox(
    [new BoxFull(FULL, place(1)), SESSION],
    [new CallProblem(UNREACHABLE), place(0, true)],
  );
  const taken = new Seat(box, () => undefined).take({});
  await polls(2);
  mock.timers.reset();
  assert.equal(await taken, SESSION);
});

test("a place that is gone is asked for anew", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const gone = new CallProblem({ code: "ticket_unknown", message: "", hint: "" });
  const box = new FakeBox(
    [new BoxFull(FULL, place(1)), new BoxFull(FULL, place(0, true, "t2")), SESSION],
    [gone],
  );
  const taken = new Seat(box, () => undefined).take({});
  await polls(1);
  mock.timers.reset();
  assert.equal(await taken, SESSION);
  assert.deepEqual(box.wishes, [{}, {}, { ticket: "t2" }]);
});

test("who gives up leaves the queue and gets nothing", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const box = new FakeBox([new BoxFull(FULL, place(3))], []);
  const seat = new Seat(box, () => undefined);
  const taken = seat.take({});
  await polls(0);
  seat.giveUp();
  seat.giveUp();
  assert.equal(await taken, undefined);
  mock.timers.reset();
  assert.deepEqual(box.left, ["t1"]);
});

test("a box without a queue refuses", async () => {
  const refusal = new BoxFull(FULL, undefined);
  await assert.rejects(new Seat(new FakeBox([refusal], []), () => undefined).take({}), refusal);
});

test("the words count as people do", () => {
  assert.match(queueWords(0), /^You are next\./);
  assert.match(queueWords(1), /^One is before you\./);
  assert.match(queueWords(3), /^3 are before you\./);
});
