/** The form of one persona: saving, examples, listening, and a guard over what is not saved. */

import { askJson, Failure } from "../panel/ask";
import { AWAY, clearNotices, notice, saidBy } from "../panel/notices";
import { fieldIn, personaFrom } from "./form";
import { installTrial } from "./trial";

interface Kept {
  name: string;
  version: string;
}

const SAMPLE = "Hello. This is how I sound.";

/** Let the form of one persona work. */
export function installEditor(form: HTMLFormElement): void {
  const current = () => personaFrom(new FormData(form));
  let saved = JSON.stringify(current());
  let leaving = false;

  const save = async (): Promise<void> => {
    clearNotices();
    form.querySelectorAll("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
    const persona = current();
    const buttons = document.querySelectorAll<HTMLButtonElement>("[data-saves]");
    buttons.forEach((button) => (button.disabled = true));
    try {
      const own = form.hasAttribute("data-own");
      const before = form.dataset["name"] ?? "";
      const kept = own
        ? await askJson<Kept>("PUT", `/api/v1/personas/${before}`, { persona, version: form.dataset["version"] ?? "" })
        : await askJson<Kept>("POST", "/api/v1/personas", { persona, cover_built_in: true });
      form.dataset["version"] = kept.version;
      saved = JSON.stringify(persona);
      if (own && kept.name === before) {
        notice({ message: "Saved.", hint: "The next call gets it like this." }, "good");
        return;
      }
      leaving = true;
      location.assign(`/personas/${kept.name}`);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      notice(error.said);
      mark(form, fieldIn(error.said.message));
    } finally {
      buttons.forEach((button) => (button.disabled = false));
    }
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void save();
  });
  addEventListener("beforeunload", (event) => {
    if (!leaving && JSON.stringify(current()) !== saved) event.preventDefault();
  });
  installExamples(form);
  installListening(form);
  installTrial(
    () => (form.reportValidity() ? current() : undefined),
    () => current().greeting.trim(),
  );
}

function mark(form: HTMLFormElement, name: string): void {
  const field = name ? form.elements.namedItem(name) : null;
  const first = field instanceof RadioNodeList ? field[0] : field;
  if (!(first instanceof HTMLElement)) return;
  first.closest("details")?.setAttribute("open", "");
  first.setAttribute("aria-invalid", "true");
  first.focus();
}

function installExamples(form: HTMLFormElement): void {
  const list = document.getElementById("examples") as HTMLElement;
  const blank = document.getElementById("example") as HTMLTemplateElement;
  form.addEventListener("click", (event) => {
    const target = event.target as Element;
    if (target.closest("[data-adds-example]")) {
      list.append(blank.content.cloneNode(true));
      list.lastElementChild?.querySelector("textarea")?.focus();
    }
    if (target.closest("[data-takes-example]")) {
      target.closest("[data-example]")?.remove();
      form.querySelector<HTMLElement>("[data-adds-example]")?.focus();
    }
  });
}

function installListening(form: HTMLFormElement): void {
  const button = document.getElementById("listen") as HTMLButtonElement;
  const heard = document.getElementById("heard") as HTMLAudioElement;
  let address = "";
  button.addEventListener("click", () => {
    const persona = personaFrom(new FormData(form));
    button.disabled = true;
    void spoken(persona.voice ?? "", persona.greeting.trim() || SAMPLE)
      .then((sound) => {
        URL.revokeObjectURL(address);
        address = URL.createObjectURL(sound);
        heard.src = address;
        heard.hidden = false;
        return heard.play();
      })
      .catch((error: unknown) => {
        // A browser that does not start it by itself still shows the control.
        if (error instanceof Failure) notice(error.said);
      })
      .finally(() => (button.disabled = false));
  });
}

async function spoken(voice: string, text: string): Promise<Blob> {
  let response: Response;
  try {
    response = await fetch("/v1/audio/speech", {
      method: "POST",
      headers: { "X-Earshot-Client": "1", "Content-Type": "application/json" },
      // A whole file with its length: browsers refuse to play a wav that does not know its own.
      body: JSON.stringify({ model: "tts-1", input: text, voice, response_format: "mp3" }),
    });
  } catch {
    throw new Failure(AWAY);
  }
  if (!response.ok) throw new Failure(saidBy(response.status, await response.text()), response.status);
  return response.blob();
}
