/** The list of the browser's tests on the page: each row shows one finding. */

import type { Finding } from "./findings";

const WORDS = { ok: "Well", warn: "Look at this", fail: "Mend this" } as const;
const BADGES = { ok: "good", warn: "warn", fail: "bad" } as const;

function row(name: string): HTMLElement {
  return document.querySelector<HTMLElement>(`[data-test="${name}"]`) as HTMLElement;
}

function fill(name: string, badge: string, kind: string, message: string, hint: string): void {
  const place = row(name);
  const sign = place.querySelector(".badge") as HTMLElement;
  sign.className = kind ? `badge ${kind}` : "badge";
  sign.textContent = badge;
  (place.querySelector(".said") as HTMLElement).textContent = message;
  (place.querySelector(".hint") as HTMLElement).textContent = hint;
}

/** Say that this test is under way. */
export function showRunning(name: string, message: string): void {
  fill(name, "Checking…", "", message, "");
  row(name).dataset.state = "running";
}

/** Show what a test found. */
export function show(name: string, found: Finding): void {
  fill(name, WORDS[found.state], BADGES[found.state], found.message, found.hint);
  row(name).dataset.state = found.state;
}

/** Say that a test could not be made, and why. */
export function showSkipped(name: string, message: string): void {
  fill(name, "Not checked", "", message, "");
  row(name).dataset.state = "skipped";
}
