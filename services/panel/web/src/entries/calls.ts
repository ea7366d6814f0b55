/** What is going on in the calls, asked for again as long as the page is looked at. */

import htmx from "htmx.org";
import { askText } from "../panel/ask";
import { gone } from "../panel/gone";
import { merge } from "../panel/merge";
import { showTimes } from "../panel/times";

const EVERY_MS = 1_000;
const AWAY_MS = 3_000;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function say(words: string): void {
  const place = document.getElementById("live");
  if (!place) return;
  place.textContent = words;
  place.hidden = words === "";
}

async function looked(): Promise<void> {
  while (document.visibilityState !== "visible") {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

function liveCalls(place: HTMLElement): string[] {
  return [...place.querySelectorAll(".live")].map((call) => call.id);
}

/** Put the list of past calls in anew. @returns whether that was done. */
async function refreshPast(): Promise<boolean> {
  const old = document.getElementById("past-calls");
  if (!old) return true;
  // Whoever walks through the list by keyboard is not to lose their place.
  if (old.contains(document.activeElement)) return false;
  const html = await askText("GET", location.pathname + location.search).catch(() => undefined);
  if (html === undefined) return false;
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("past-calls");
  if (fresh) merge(old, fresh, showTimes);
  return true;
}

async function follow(place: HTMLElement, address: string): Promise<void> {
  let stale = false;
  for (;;) {
    await pause(EVERY_MS);
    await looked();
    let html: string;
    try {
      html = await askText("GET", address);
    } catch {
      say("Not live: the box cannot be reached. This page tries again by itself.");
      await pause(AWAY_MS);
      continue;
    }
    say("");
    const fresh = document.createElement("div");
    const template = document.createElement("template");
    template.innerHTML = html;
    fresh.append(template.content);
    stale ||= gone(liveCalls(place), liveCalls(fresh));
    merge(place, fresh, (part) => {
      htmx.process(part);
      showTimes(part);
    });
    if (stale) stale = !(await refreshPast());
    // An ended call has another page: its files, its feedback.
    if (place.querySelector("#over")) return location.reload();
  }
}

for (const place of document.querySelectorAll<HTMLElement>("[data-refreshes]")) {
  void follow(place, place.dataset["refreshes"] ?? "");
}
