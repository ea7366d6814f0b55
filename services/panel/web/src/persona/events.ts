/** Reads a streamed chat: OpenAI's server-sent events, in whatever pieces they arrive. */

interface Event {
  choices?: { delta?: { content?: string } }[];
  error?: { message?: string };
}

/** Collects pieces of the stream and gives out what was said in them. */
export class ChatEvents {
  private held = "";

  /** The text in this piece of the stream. @throws Error the answer broke off, with what the box said of it. */
  push(piece: string): string {
    const lines = (this.held + piece).split("\n");
    this.held = lines.pop() ?? "";
    return lines.map((line) => this.read(line.trim())).join("");
  }

  private read(line: string): string {
    if (!line.startsWith("data:") || line.endsWith("[DONE]")) return "";
    const event = JSON.parse(line.slice("data:".length)) as Event;
    if (event.error) throw new Error(event.error.message ?? "The answer broke off.");
    return event.choices?.map((choice) => choice.delta?.content ?? "").join("") ?? "";
  }
}
