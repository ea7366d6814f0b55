import assert from "node:assert/strict";
import { test } from "node:test";
import { lineWords, pathOf } from "../src/line";

const NOTHING = { protocol: undefined, roundTripMs: undefined };

test("a good line over UDP is said shortly", () => {
  assert.equal(
    lineWords("excellent", { protocol: "udp", roundTripMs: 3.4 }),
    "Connection: good · directly (UDP) · 3 ms there and back",
  );
});

test("a detour over TCP is explained", () => {
  assert.match(lineWords("good", { protocol: "tcp", roundTripMs: undefined }), /UDP is blocked/);
});

test("nothing is said while nothing is known", () => {
  assert.equal(lineWords("unknown", NOTHING), "");
  assert.match(lineWords("poor", NOTHING), /weak/);
});

test("the path is the one that was chosen", () => {
  const reports = [
    { id: "c1", type: "local-candidate", protocol: "tcp" },
    { id: "c2", type: "local-candidate", protocol: "udp" },
    { id: "p1", type: "candidate-pair", nominated: false, state: "succeeded", localCandidateId: "c1" },
    {
      id: "p2",
      type: "candidate-pair",
      nominated: true,
      state: "succeeded",
      localCandidateId: "c2",
      currentRoundTripTime: 0.012,
    },
  ];
  assert.deepEqual(pathOf(reports), { protocol: "udp", roundTripMs: 12 });
  assert.deepEqual(pathOf([]), NOTHING);
});
