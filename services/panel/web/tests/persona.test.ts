import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatEvents } from "../src/persona/events";
import { fieldIn, personaFrom } from "../src/persona/form";

function fields(changes: Record<string, string | string[]> = {}): FormData {
  const data = new FormData();
  const given: Record<string, string | string[]> = {
    name: " joe ", title: "Joe", instructions: "Be short.\n", greeting: "", voice: "", language: "en", model: "",
    temperature: "0.7", top_p: "1", max_tokens: "48", seed: "", endpointing: "quick", barge_in: "stop", ...changes,
  };
  for (const [name, value] of Object.entries(given)) {
    for (const one of Array.isArray(value) ? value : [value]) data.append(name, one);
  }
  return data;
}

test("the fields of the form make a persona", () => {
  const persona = personaFrom(fields({ "example.user": ["a", "b"], "example.assistant": ["c", "d"] }));
  assert.deepEqual(persona.examples, [
    { user: "a", assistant: "c" },
    { user: "b", assistant: "d" },
  ]);
  assert.deepEqual(persona.sampling, { temperature: 0.7, top_p: 1, max_tokens: 48, seed: null });
  assert.equal(persona.name, "joe");
  assert.equal(persona.instructions, "Be short.\n");
  assert.equal(persona.voice, null);
  assert.equal(persona.keep_transcript, false);
  assert.equal(personaFrom(fields({ seed: "0", keep_transcript: "on" })).sampling.seed, 0);
  assert.equal(personaFrom(fields({ keep_transcript: "on" })).keep_transcript, true);
});

test("the field that an error names is found", () => {
  assert.equal(fieldIn("The request is wrong at persona.sampling.top_p."), "top_p");
  assert.equal(fieldIn("The request is wrong at persona.examples.0.assistant."), "example.assistant");
  assert.equal(fieldIn("The request is wrong at persona.title."), "title");
  assert.equal(fieldIn("The box does not answer."), "");
});

test("an answer is read however it is cut into pieces", () => {
  const stream = ['data: {"choices":[{"delta":{"role":"assistant","content":""}}]}', 'data: {"choices":[{"delta":{"content":"Hé"}}]}', 'data: {"choices":[{"delta":{"content":" you"}}]}', 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}', "data: [DONE]", ""].join("\n\n");
  for (const size of [1, 7, 1000]) {
    const events = new ChatEvents();
    let said = "";
    for (let at = 0; at < stream.length; at += size) said += events.push(stream.slice(at, at + size));
    assert.equal(said, "Hé you");
  }
});

test("an answer that breaks off is told", () => {
  const events = new ChatEvents();
  assert.throws(() => events.push('data: {"error":{"message":"Too late."}}\n\n'), /Too late/);
});
