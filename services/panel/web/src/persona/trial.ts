/** Talking by text with the persona as it stands in the form. */

import { AWAY, notice, saidBy } from "../panel/notices";
import { ChatEvents } from "./events";
import type { Persona } from "./form";

interface Line {
  role: "user" | "assistant";
  content: string;
}

const MOST_LINES = 40;

/**
 * Let the talk beside the form work.
 * @param persona what the form says now, or undefined if that is not valid; the form then shows where.
 * @param greeting what it would say first.
 */
export function installTrial(persona: () => Persona | undefined, greeting: () => string): void {
  const form = document.getElementById("trial") as HTMLFormElement | null;
  if (!form) return;
  const list = document.getElementById("trial-lines") as HTMLElement;
  const text = document.getElementById("trial-text") as HTMLTextAreaElement;
  const send = document.getElementById("trial-send") as HTMLButtonElement;
  const stop = document.getElementById("trial-stop") as HTMLButtonElement;
  const again = document.getElementById("trial-again") as HTMLButtonElement;
  let lines: Line[] = [];
  let asking: AbortController | undefined;

  const scroll = (): void => {
    const frame = list.parentElement as HTMLElement;
    frame.scrollTop = frame.scrollHeight;
  };

  const show = (role: Line["role"], words: string): HTMLElement => {
    const item = document.createElement("li");
    item.dataset["role"] = role;
    const who = document.createElement("span");
    who.className = "unseen";
    who.textContent = role === "user" ? "You: " : "The persona: ";
    const said = document.createElement("span");
    said.textContent = words;
    item.append(who, said);
    list.append(item);
    scroll();
    return said;
  };

  const begin = (): void => {
    asking?.abort();
    lines = [];
    list.replaceChildren();
    if (greeting()) show("assistant", greeting());
  };

  const busy = (now: boolean): void => {
    send.disabled = now;
    stop.hidden = !now;
    list.setAttribute("aria-busy", String(now));
  };

  const ask = async (): Promise<void> => {
    const asked = persona();
    const words = text.value.trim();
    if (!asked || !words || asking) return;
    asking = new AbortController();
    const mine = asking;
    lines = [...lines, { role: "user" as const, content: words }].slice(-MOST_LINES);
    show("user", words);
    text.value = "";
    busy(true);
    const said = show("assistant", "…");
    let answer = "";
    try {
      await answered(asked, lines, mine.signal, (more) => {
        answer += more;
        said.textContent = answer;
        scroll();
      });
    } catch (error) {
      if (!mine.signal.aborted) notice(error instanceof Refusal ? error.said : { message: String((error as Error).message) });
    } finally {
      if (answer && !mine.signal.aborted) lines.push({ role: "assistant", content: answer.slice(0, 4000) });
      else if (!answer) said.textContent = mine.signal.aborted ? "(stopped)" : "(no answer)";
      asking = undefined;
      busy(false);
    }
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void ask();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  stop.addEventListener("click", () => asking?.abort());
  again.addEventListener("click", begin);
  begin();
}

class Refusal extends Error {
  constructor(readonly said: { message: string; hint?: string }) {
    super(said.message);
  }
}

async function answered(
  persona: Persona,
  messages: Line[],
  signal: AbortSignal,
  more: (text: string) => void,
): Promise<void> {
  let response: Response;
  try {
    response = await fetch("/api/v1/personas/test", {
      method: "POST",
      headers: { "X-Earshot-Client": "1", "Content-Type": "application/json" },
      body: JSON.stringify({ persona, messages }),
      signal,
    });
  } catch {
    throw new Refusal(AWAY);
  }
  if (!response.ok || !response.body) throw new Refusal(saidBy(response.status, await response.text()));
  const events = new ChatEvents();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    more(events.push(value));
  }
}
