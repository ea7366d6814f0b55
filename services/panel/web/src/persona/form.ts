/** From the form's fields to a persona, as the API takes it. */

export interface Persona {
  name: string;
  title: string;
  instructions: string;
  examples: { user: string; assistant: string }[];
  greeting: string;
  voice: string | null;
  language: string;
  model: string | null;
  sampling: { temperature: number; top_p: number; max_tokens: number; seed: number | null };
  endpointing: string;
  barge_in: string;
  keep_transcript: boolean;
}

/** The persona that these fields describe. */
export function personaFrom(fields: FormData): Persona {
  const text = (name: string) => String(fields.get(name) ?? "");
  const orNull = (name: string) => text(name).trim() || null;
  const answers = fields.getAll("example.assistant").map(String);
  return {
    name: text("name").trim(),
    title: text("title").trim(),
    instructions: text("instructions"),
    examples: fields.getAll("example.user").map((user, at) => ({ user: String(user), assistant: answers[at] ?? "" })),
    greeting: text("greeting"),
    voice: orNull("voice"),
    language: text("language"),
    model: orNull("model"),
    sampling: {
      temperature: Number(text("temperature")),
      top_p: Number(text("top_p")),
      max_tokens: Number(text("max_tokens")),
      seed: text("seed").trim() === "" ? null : Number(text("seed")),
    },
    endpointing: text("endpointing"),
    barge_in: text("barge_in"),
    keep_transcript: fields.has("keep_transcript"),
  };
}

/** The form's field that an error of the API is about, e.g. "persona.sampling.top_p"; empty if none is named. */
export function fieldIn(message: string): string {
  const found = /wrong at (?:persona\.)?([a-z_]+)(?:\.(\d+|[a-z_]+))?(?:\.([a-z_]+))?/.exec(message);
  if (!found) return "";
  const [, group = "", inner = "", last = ""] = found;
  if (group === "sampling") return inner;
  return group === "examples" ? `example.${last || "user"}` : group;
}
