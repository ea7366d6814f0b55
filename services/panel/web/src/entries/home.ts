/** The first page stays true while it is open; programs are restarted and their logs read from it. */

import { askJson, askText, Failure } from "../panel/ask";
import { Charts, type Columns, type Sample } from "../panel/charts";
import { confirmed } from "../panel/dialogs";
import { listen } from "../panel/live";
import { morphInto } from "../panel/morph";
import { clearNotices, notice } from "../panel/notices";
import { showTimes } from "../panel/times";

interface Line {
  at: string | null;
  level: string;
  event: string;
  rest: string;
}

const LOG_EVERY_MS = 2_000;
const LOG_LINES = 200;
const BAD = ["error", "critical", "fatal", "panic"];

const now = document.getElementById("now") as HTMLElement;
const dialog = document.getElementById("log") as HTMLDialogElement;
const lines = document.getElementById("log-lines") as HTMLElement;
const charts = new Charts(document.getElementById("charts") as HTMLElement);
let asking = false;

async function refresh(): Promise<void> {
  // One page left open in a hidden tab need not keep the box busy.
  if (asking || document.hidden) return;
  asking = true;
  try {
    morphInto(now, await askText("GET", "/parts/home"));
    showTimes(now);
    document.title = document.title.replace(/^[^·]+/, now.querySelector("#verdict.good") ? "Ready " : "Not ready ");
  } catch (error) {
    // The stream's own notice says that the box is away.
    if (!(error instanceof Failure)) throw error;
  } finally {
    asking = false;
  }
}

async function recall(): Promise<void> {
  await refresh();
  const history = await askJson<Columns>("GET", "/api/v1/box/history").catch(() => undefined);
  if (history) charts.show(history);
}

async function restart(button: HTMLElement): Promise<void> {
  const title = button.dataset["title"] ?? "";
  if (!(await confirmed(`Restart ${title}?`, "Restart", button.dataset["effect"]))) return;
  clearNotices();
  try {
    await askJson("POST", `/api/v1/box/programs/${button.dataset["restart"] ?? ""}/restart`);
    notice({ message: `${title} is being restarted.`, hint: "Its state shows when it is back." }, "good");
  } catch (error) {
    if (error instanceof Failure) notice(error.said);
    else throw error;
  }
}

async function showLog(program: string, title: string): Promise<void> {
  (document.getElementById("log-title") as HTMLElement).textContent = `Log of ${title}`;
  lines.replaceChildren();
  dialog.showModal();
  while (dialog.open) {
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 30;
    try {
      const found = await askJson<{ lines: Line[] }>("GET", `/api/v1/box/programs/${program}/log?lines=${LOG_LINES}`);
      if (dialog.dataset["program"] !== program) return;
      lines.replaceChildren(...found.lines.map(row));
      if (found.lines.length === 0) lines.textContent = "It has written nothing yet.";
      state("");
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      state(error.said.message);
    }
    if (atEnd) lines.scrollTop = lines.scrollHeight;
    await new Promise((resolve) => setTimeout(resolve, LOG_EVERY_MS));
  }
}

function row(line: Line): HTMLElement {
  const element = document.createElement("div");
  const clock = line.at ? new Date(line.at).toLocaleTimeString() : "";
  element.textContent = [clock, line.level, line.event, line.rest].filter(Boolean).join("  ");
  if (BAD.includes(line.level)) element.className = "bad-line";
  return element;
}

function state(words: string): void {
  (document.getElementById("log-state") as HTMLElement).textContent = words;
}

document.addEventListener("click", (event) => {
  const button = (event.target as Element).closest<HTMLElement>("[data-restart], [data-log]");
  if (button?.dataset["restart"]) void restart(button);
  else if (button?.dataset["log"]) {
    dialog.dataset["program"] = button.dataset["log"];
    void showLog(button.dataset["log"], button.dataset["title"] ?? "");
  }
});
document.addEventListener("visibilitychange", () => void refresh());

listen({ box: ({ sample }: { sample: Sample }) => (charts.add(sample), void refresh()), calls: () => void refresh() }, () => void recall());
void recall();
