/** What the caller thought of the call: a thumb and a note, kept with it. */

import type { CallApi } from "./api";
import { element, optional } from "./dom";
import { CallProblem, UNREACHABLE } from "./problems";

export class Feedback {
  readonly #form: HTMLFormElement;
  readonly #thumbs = new Map([
    [1, element<HTMLButtonElement>("thumb-up")],
    [-1, element<HTMLButtonElement>("thumb-down")],
  ]);
  readonly #notePart = element("note-part");
  readonly #note = element<HTMLTextAreaElement>("note");
  readonly #said = element("feedback-said");
  #session: string | undefined;
  #thumb: number | null = null;

  private constructor(
    form: HTMLFormElement,
    private readonly api: CallApi,
  ) {
    this.#form = form;
    for (const [value, button] of this.#thumbs) button.addEventListener("click", () => void this.#press(value));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
  }

  /** Undefined where this page does not ask. */
  static on(api: CallApi): Feedback | undefined {
    const form = optional<HTMLFormElement>("feedback");
    return form && new Feedback(form, api);
  }

  /** Ask about this call. */
  ask(session: string): void {
    this.#session = session;
    this.#thumb = null;
    this.#note.value = "";
    this.#notePart.hidden = true;
    this.#said.textContent = "";
    this.#show();
    this.#form.hidden = false;
  }

  hide(): void {
    this.#form.hidden = true;
  }

  async #press(value: number): Promise<void> {
    this.#thumb = this.#thumb === value ? null : value;
    this.#notePart.hidden = false;
    this.#show();
    await this.#send();
  }

  #show(): void {
    for (const [value, button] of this.#thumbs) button.setAttribute("aria-pressed", String(this.#thumb === value));
  }

  async #send(): Promise<void> {
    const session = this.#session;
    if (!session) return;
    try {
      await this.api.feedback(session, this.#thumb, this.#note.value.trim());
      if (session === this.#session) this.#said.textContent = "Thank you. It is kept with the call.";
    } catch (error) {
      const { message } = error instanceof CallProblem ? error.problem : UNREACHABLE;
      this.#said.textContent = `This was not kept. ${message}`;
    }
  }
}
