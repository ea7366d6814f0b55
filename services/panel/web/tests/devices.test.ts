import assert from "node:assert/strict";
import { test } from "node:test";
import { choices, constraints, pick } from "../src/devices";

const FOUND = [
  { deviceId: "default", kind: "audioinput", label: "Default - Headset" },
  { deviceId: "communications", kind: "audioinput", label: "Communications - Headset" },
  { deviceId: "a1", kind: "audioinput", label: "Headset" },
  { deviceId: "a2", kind: "audioinput", label: "" },
  { deviceId: "s1", kind: "audiooutput", label: "Loud box" },
  { deviceId: "v1", kind: "videoinput", label: "Camera" },
] as const;

test("the system's own choice comes first, and its doubles are left out", () => {
  assert.deepEqual(choices(FOUND, "audioinput"), [
    { id: "", label: "The system's own choice" },
    { id: "a1", label: "Headset" },
    { id: "a2", label: "Microphone 2" },
  ]);
  assert.deepEqual(
    choices(FOUND, "audiooutput").map((device) => device.id),
    ["", "s1"],
  );
});

test("before the microphone was allowed there is one entry only", () => {
  assert.equal(choices([{ deviceId: "", kind: "audioinput", label: "" }], "audioinput").length, 1);
});

test("a device that was unplugged gives way to the system's own choice", () => {
  const devices = choices(FOUND, "audioinput");
  assert.equal(pick(devices, "a2"), "a2");
  assert.equal(pick(devices, "gone"), "");
});

test("a chosen device is wished for, never demanded", () => {
  assert.deepEqual(constraints("a1").deviceId, { ideal: "a1" });
  assert.equal(constraints("").deviceId, undefined);
});
