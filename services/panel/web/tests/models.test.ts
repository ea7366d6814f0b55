import assert from "node:assert/strict";
import { test } from "node:test";
import { bars, llmNeed, type Room, size, verdict } from "../src/models/room";
import { mistake, nameOf, partOf } from "../src/models/upload";

const MIB = 2 ** 20;
const LINE = { fixed: 90 * MIB, state: 100, kv_per_token: 1000, work_least: 50 * MIB, work_extra: 10, work_per_token: 20_000 };
const ROOM: Room = {
  context_tokens: 4096, seats: 4, seats_set: 0, conversations: 1, line: LINE,
  parts: [
    { name: "llm_weights", label: "Language model", size: 90 * MIB, place: "ram" },
    { name: "llm_kv", label: "Conversation", ...need(4096, "kv"), place: "ram" },
    { name: "llm_work", label: "Work", ...need(4096, "work"), place: "ram" },
  ],
  ram_total: 4096 * MIB, vram_total: 0, ram_other: 0, vram_other: 0, call_bytes: 500 * MIB, programs_bytes: 900 * MIB, llm_place: "ram",
};

function need(tokens: number, what: "kv" | "work"): { size: number } {
  return { size: llmNeed(LINE, 1, tokens)[what] };
}

test("a longer context takes more, padded as llama.cpp pads it", () => {
  assert.equal(llmNeed(LINE, 1, 300).kv, 100 + 1000 * 512);
  assert.equal(llmNeed(LINE, 2, 512).kv, 2 * (100 + 1000 * 512));
  assert.equal(llmNeed(LINE, 1, 512).work, 50 * MIB);
  assert.equal(llmNeed(LINE, 1, 8192).work, 10 + 20_000 * 8192);
});

test("the bar moves with context and seats", () => {
  const [now] = bars(ROOM, 4096, 0);
  const [long] = bars(ROOM, 8192, 0);
  const [full] = bars(ROOM, 4096, 6);
  assert.ok(now && long && full);
  const more = need(8192, "kv").size - need(4096, "kv").size + need(8192, "work").size - need(4096, "work").size;
  assert.equal(now.free - long.free, more);
  assert.equal(now.free - full.free, 2 * ROOM.call_bytes + 2 * need(4096, "kv").size);
  assert.equal(bars(ROOM, 4096, 4)[0]?.free, now.free);
});

test("what other programs take is not left for the models", () => {
  const busy: Room = { ...ROOM, ram_other: 700 * MIB, vram_total: 8000 * MIB, vram_other: 300 * MIB };
  const [ram, ...more] = bars(busy, 4096, 0);
  assert.equal(ram?.free, (bars(ROOM, 4096, 0)[0]?.free ?? 0) - 700 * MIB);
  assert.ok(ram?.parts.some((part) => part.label === "Other programs"));
  assert.deepEqual(more, [], "graphics memory without a model of ours has no bar");
  const gpu: Room = { ...busy, parts: ROOM.parts.map((part) => ({ ...part, place: "vram" })) };
  const free = bars({ ...gpu, vram_other: 0 }, 4096, 0)[0]?.free ?? 0;
  assert.equal(bars(gpu, 4096, 0)[0]?.free, free - 300 * MIB);
});

test("eighty parts of a hundred fit, a hundred are tight, more do not fit", () => {
  const at = (used: number) => verdict({ place: "ram", total: 100 * MIB, parts: [], free: (100 - used) * MIB }).kind;
  assert.deepEqual([80, 81, 100, 101].map(at), ["good", "warn", "warn", "bad"]);
});

test("graphics memory has a bar of its own", () => {
  const gpu: Room = { ...ROOM, vram_total: 24_000 * MIB, parts: ROOM.parts.map((part) => ({ ...part, place: "vram" })) };
  assert.deepEqual(bars(gpu, 4096, 0).map((bar) => bar.place), ["vram", "ram"]);
});

test("files are known by their names", () => {
  assert.equal(partOf("a.ONNX.json"), "onnx.json");
  assert.equal(nameOf("My model (v2).gguf"), "My-model-v2");
  assert.equal(nameOf("../../etc/x.onnx"), "etc-x");
  assert.equal(mistake(["a.gguf"]), undefined);
  assert.equal(mistake(["a.onnx", "a.onnx.json"]), undefined);
  assert.match(mistake(["a.onnx"]) ?? "", /together/);
  assert.match(mistake(["a.bin"]) ?? "", /neither/);
  assert.equal(size(1536 * MIB), "1.5 GiB");
});
