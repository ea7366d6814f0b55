/** The page of the models: buttons, live progress, the memory bar and uploads. */

import { bars, draw, type Room, size } from "../models/room";
import { mistake, nameOf, partOf, Sending } from "../models/upload";
import { askJson, askText, Failure } from "../panel/ask";
import { confirmed } from "../panel/dialogs";
import { listen } from "../panel/live";
import { clearNotices, notice, type Said } from "../panel/notices";

interface Work {
  model: string;
  kind: "pull" | "verify";
  done: number;
  total: number;
  over: boolean;
}

interface Switch {
  finished: boolean;
}

const SETTINGS = "/api/v1/settings";
const element = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;

let room = JSON.parse(element("room").dataset["room"] ?? "{}") as Room;
const context = document.getElementById("context") as HTMLInputElement | null;
const useContext = document.getElementById("use-context") as HTMLButtonElement | null;
const seats = element<HTMLInputElement>("seats");
const saveSeats = element<HTMLButtonElement>("save-seats");
let shownWork = new Set<string>();

function tell(error: unknown): void {
  if (error instanceof Failure) notice(error.said);
  else throw error;
}

/** The parts are rendered by the box; scripts and styles in them would not run. */
async function refresh(part: "list" | "switch"): Promise<void> {
  try {
    const html = await askText("GET", `/models/parts/${part}`);
    const place = element(part);
    const id = document.activeElement?.closest("tr")?.id;
    const open = [...place.querySelectorAll("details[open]")].map((one) => one.id);
    place.innerHTML = html;
    for (const one of open) element(one)?.setAttribute("open", "");
    if (id) element(id)?.querySelector<HTMLElement>("button")?.focus();
  } catch (error) {
    tell(error);
  }
}

/** After a change or a break: a page that is being used is never loaded anew. */
async function refreshAll(): Promise<void> {
  await Promise.all([refresh("list"), refresh("switch")]);
  try {
    const untouched = context && Number(context.value) === room.context_tokens;
    room = await askJson<Room>("GET", "/api/v1/models/room");
    if (context && untouched) context.value = String(room.context_tokens);
    slide();
  } catch (error) {
    tell(error);
  }
}

async function press(button: HTMLButtonElement): Promise<void> {
  const { does = "", body, ask, askMore, askAction } = button.dataset;
  if (ask && !(await confirmed(ask, askAction, askMore))) return;
  const [method = "POST", path = ""] = does.split(" ");
  button.disabled = true;
  clearNotices();
  try {
    await askJson(method, path, body ? JSON.parse(body) : undefined);
    await Promise.all([refresh("list"), refresh("switch")]);
  } catch (error) {
    tell(error);
  } finally {
    button.disabled = false;
  }
}

function showWork(work: Work): void {
  const place = document.querySelector<HTMLElement>(`[data-work="${CSS.escape(work.model)}"]`);
  const bar = place?.querySelector("progress");
  if (work.over || !bar) {
    // A row changes its buttons when work begins and when it ends.
    if (work.over || !shownWork.has(work.model)) void refresh("list");
    shownWork = new Set(shownWork).add(work.model);
    if (work.over) shownWork.delete(work.model);
    return;
  }
  bar.max = work.total || 1;
  bar.value = work.done;
  const said = place?.querySelector(".said");
  if (said) said.textContent = `${size(work.done)} of ${work.total ? size(work.total) : "unknown"}`;
}

function slide(): void {
  const tokens = context ? Number(context.value) : room.context_tokens;
  const wanted = Number(seats.value);
  if (context && useContext) {
    element("context-said").textContent = String(tokens);
    useContext.disabled = tokens === room.context_tokens;
  }
  element("seats-said").textContent = wanted ? String(wanted) : "from memory";
  saveSeats.disabled = wanted === room.seats_set;
  draw(element("bars"), bars(room, tokens, wanted));
}

async function takeContext(): Promise<void> {
  const chosen = document.querySelector<HTMLElement>("#task-llm")?.closest("section")?.querySelector("tr.chosen");
  const model = chosen?.id.replace(/^model-/, "");
  if (!model || !context) return;
  const more = "The language model starts again with it. Callers wait for a moment and then go on.";
  if (!(await confirmed(`Use a context of ${context.value} tokens?`, "Use it", more))) return;
  try {
    const tokens = Number(context.value);
    await askJson("POST", "/api/v1/models/switch", { task: "llm", model, context_tokens: tokens });
  } catch (error) {
    tell(error);
  }
}

async function keepSeats(): Promise<void> {
  try {
    const { version } = await askJson<{ version: string }>("GET", SETTINGS);
    const changes = { "agent.seats": Number(seats.value) };
    await askJson("PATCH", SETTINGS, { version, changes });
    room.seats_set = Number(seats.value);
    slide();
    notice({ message: "Saved.", hint: "The page Settings restarts the programs that have to know." }, "good");
  } catch (error) {
    tell(error);
  }
}

function installUpload(): void {
  const form = element<HTMLFormElement>("upload");
  const files = element<HTMLInputElement>("upload-files");
  const name = element<HTMLInputElement>("upload-name");
  const go = element<HTMLButtonElement>("upload-go");
  const stop = element<HTMLButtonElement>("upload-stop");
  const bar = element<HTMLProgressElement>("upload-progress");
  const said = element("upload-said");
  let sending: Sending | undefined;

  files.addEventListener("change", () => {
    const chosen = [...(files.files ?? [])].map((file) => file.name);
    files.setCustomValidity(chosen.length ? (mistake(chosen) ?? "") : "");
    files.reportValidity();
    if (chosen[0]) name.value = nameOf(chosen[0]);
  });
  stop.addEventListener("click", () => sending?.stop());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void upload();
  });

  async function upload(): Promise<void> {
    const chosen = [...(files.files ?? [])];
    const total = chosen.reduce((sum, file) => sum + file.size, 0);
    busy(true);
    said.textContent = "";
    try {
      let before = 0;
      for (const file of chosen) {
        sending = new Sending();
        const path = `/api/v1/models/uploads/${encodeURIComponent(name.value)}/${partOf(file.name)}`;
        await sending.send(path, file, (done) => (bar.value = (before + done) / (total || 1)));
        before += file.size;
      }
      await refresh("list");
      said.textContent = `${name.value} is here and can be used.`;
      form.reset();
    } catch (error) {
      const { message, hint } = error as Said;
      said.textContent = `${message} ${hint ?? ""}`.trim();
    } finally {
      busy(false);
    }
  }

  function busy(is: boolean): void {
    go.disabled = is;
    stop.hidden = !is;
    element("upload-bar").hidden = !is;
    bar.value = 0;
  }
}

document.addEventListener("click", (event) => {
  const button = (event.target as Element).closest<HTMLButtonElement>("button[data-does]");
  if (button) void press(button);
});
context?.addEventListener("input", slide);
seats.addEventListener("input", slide);
useContext?.addEventListener("click", () => void takeContext());
saveSeats.addEventListener("click", () => void keepSeats());
installUpload();
slide();
listen(
  {
    pull: (work: Work) => showWork(work),
    switch: (state: Switch) => void (state.finished ? refreshAll() : refresh("switch")),
  },
  () => void refreshAll(),
);
