/** Draws where the time of the last answers went. */

import { element } from "./dom";
import { type Bar, bars, seconds, type TurnTimes, waited } from "./waterfall";

const KEPT = 5;
const SVG = "http://www.w3.org/2000/svg";

export class WaterfallView {
  readonly #box = element<HTMLDetailsElement>("speed");
  readonly #summary = element("speed-last");
  readonly #turns = element("speed-turns");
  #drawn = 0;

  clear(): void {
    this.#drawn = 0;
    this.#turns.replaceChildren();
    this.#box.hidden = true;
  }

  /** Show this turn above those before it; a turn without times changes nothing. */
  add(turn: TurnTimes): void {
    const found = bars(turn.ms);
    const wait = waited(turn.ms);
    if (found.length === 0 || wait === undefined) return;
    this.#box.hidden = false;
    this.#summary.textContent = seconds(wait);
    // A turn's own number would count the greeting and what was typed.
    this.#drawn += 1;
    this.#turns.prepend(figure(this.#drawn, wait, found));
    while (this.#turns.children.length > KEPT) this.#turns.lastElementChild?.remove();
  }
}

function figure(number: number, wait: number, found: readonly Bar[]): HTMLElement {
  const whole = Math.max(...found.map((bar) => bar.to), 1);
  const box = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = `Answer ${number}: ${seconds(wait)} after your last word`;
  const rows = document.createElement("ol");
  for (const bar of found) {
    const row = document.createElement("li");
    const label = document.createElement("span");
    label.textContent = bar.label;
    const time = document.createElement("span");
    time.className = "time";
    time.textContent = seconds(bar.to);
    row.append(label, drawn(bar, whole), time);
    rows.append(row);
  }
  box.append(caption, rows);
  return box;
}

/** The bar as a picture; the numbers beside it say the same. */
function drawn(bar: Bar, whole: number): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", bar.stage);
  const one = document.createElementNS(SVG, "rect");
  one.setAttribute("x", ((bar.from / whole) * 100).toFixed(2));
  one.setAttribute("width", Math.max(0.8, ((bar.to - bar.from) / whole) * 100).toFixed(2));
  one.setAttribute("height", "10");
  svg.append(one);
  return svg;
}
