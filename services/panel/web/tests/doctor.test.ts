import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, only, speaks } from "../src/doctor/candidates";
import {
  clockFinding,
  levelFinding,
  microphoneFinding,
  pathFinding,
  type PathResult,
  roundTripFinding,
  secureFinding,
} from "../src/doctor/findings";
import { wav } from "../src/doctor/recording";

const UDP = "candidate:1 1 udp 2130706431 192.0.2.2 7882 typ host";
const TCP = "candidate:2 1 tcp 1671430143 192.0.2.2 7881 typ host tcptype passive";

function result(more: Partial<PathResult>): PathResult {
  return { connected: false, signalled: true, offered: ["192.0.2.2:7882"], used: undefined, signalMs: 5, ...more };
}

test("candidates are told apart by their protocol, and a list's end passes", () => {
  assert.equal(speaks(UDP, "udp"), true);
  assert.equal(speaks(`a=${TCP}`, "udp"), false);
  assert.equal(speaks("", "tcp"), true);
  assert.equal(addressOf(UDP), "192.0.2.2:7882");
  assert.equal(addressOf("candidate:1 1 UDP 1 fd00::1 7882 typ host"), "[fd00::1]:7882");
  assert.equal(only(`v=0\r\na=${UDP}\r\na=${TCP}\r\na=end`, "tcp"), `v=0\r\na=${TCP}\r\na=end`);
});

test("each cause of a missing microphone has a sentence of its own", () => {
  const names = ["NotAllowedError", "SecurityError", "NotFoundError", "NotReadableError", "Unheard"];
  const said = names.map((name) => microphoneFinding(Object.assign(new Error("inner"), { name })));
  assert.equal(new Set(said.map((one) => one.message)).size, names.length);
  for (const one of said) assert.ok(one.state === "fail" && one.hint && !one.message.includes("inner"));
});

test("a secure address, the clocks and the round trip are judged", () => {
  assert.equal(secureFinding(true, true, "http://localhost:8080").state, "ok");
  assert.match(secureFinding(false, false, "http://192.0.2.2:8080").message, /192\.0\.2\.2/);
  assert.equal(clockFinding(-29_000).state, "ok");
  assert.match(clockFinding(3_600_000 * 3).message, /3 hours ahead/);
  assert.match(clockFinding(-60_000).message, /60 s behind/);
  assert.equal(roundTripFinding([3, 900, 4]).state, "ok");
  assert.equal(roundTripFinding([200, 210, 190]).state, "warn");
  assert.equal(roundTripFinding([]).state, "fail");
});

test("silence, faintness and a voice are told apart", () => {
  assert.deepEqual([0, 0.1, 0.6].map((level) => levelFinding(level, "Headset").state), ["fail", "warn", "ok"]);
});

test("each cause of a closed path has a sentence and a way out", () => {
  const used = { address: "192.0.2.2:7882", protocol: "udp", ms: 1.4 };
  const found = [
    pathFinding("udp", result({ signalled: false }), 7882),
    pathFinding("udp", result({ connected: true, used: { ...used, protocol: "tcp" } }), 7882),
    pathFinding("udp", result({ offered: [] }), 7882),
    pathFinding("udp", result({}), 7882, true),
    pathFinding("udp", result({}), 7882, false),
    pathFinding("tcp", result({ offered: ["192.0.2.2:7881"] }), 7881, true),
  ];
  assert.deepEqual(found.map((one) => one.state), ["fail", "warn", "fail", "warn", "fail", "warn"]);
  assert.equal(new Set(found.map((one) => one.message)).size, found.length);
  for (const one of found) assert.notEqual(one.hint, "");
  assert.equal(
    pathFinding("udp", result({ connected: true, used }), 7882).message,
    "Sound passes over UDP to 192.0.2.2:7882, 1 ms there and back. The call's line opened in 5 ms.",
  );
});

test("a recording becomes a wav of 16 bits", async () => {
  const bytes = new DataView(await wav(new Float32Array([0, 1, -1, 2])).arrayBuffer());
  assert.equal(bytes.byteLength, 44 + 8);
  assert.deepEqual([0, 1, 2, 3].map((n) => bytes.getInt16(44 + 2 * n, true)), [0, 32767, -32767, 32767]);
  assert.equal(bytes.getUint32(24, true), 16_000);
});
