/** The memory bar: what the models and the calls take, as context and seats are slid. */

export interface Line {
  fixed: number;
  state: number;
  kv_per_token: number;
  work_least: number;
  work_extra: number;
  work_per_token: number;
}

export type Place = "ram" | "vram";

export interface Part {
  name: string;
  label: string;
  size: number;
  place: Place;
}

export interface Room {
  context_tokens: number;
  seats: number;
  seats_set: number;
  conversations: number;
  line: Line | null;
  parts: Part[];
  ram_total: number;
  vram_total: number;
  ram_other: number;
  vram_other: number;
  call_bytes: number;
  programs_bytes: number;
  llm_place: Place;
}

export interface Bar {
  place: Place;
  total: number;
  parts: Part[];
  /** Of the total; negative: so much is missing. */
  free: number;
}

const PAD_TOKENS = 256;
/** The same part as the box's own check: a prediction above it is tight. */
const SAFE_PART = 0.8;

/** What the language model keeps of a conversation, and its work space. @returns bytes. */
export function llmNeed(line: Line, conversations: number, tokens: number): { kv: number; work: number } {
  const padded = Math.ceil(tokens / PAD_TOKENS) * PAD_TOKENS;
  return {
    kv: conversations * (line.state + line.kv_per_token * padded),
    work: Math.max(line.work_least, line.work_extra + line.work_per_token * padded),
  };
}

/** One bar for each kind of memory there is. @param seats 0: as many as the box counted itself. */
export function bars(room: Room, tokens: number, seats: number): Bar[] {
  const parts = room.parts.map((part) => ({ ...part, size: sized(part, room, tokens, seats) }));
  const calls = (seats || room.seats) * room.call_bytes;
  parts.push(
    { name: "box", label: "Earshot's programs", size: room.programs_bytes, place: "ram" },
    { name: "agent", label: `Calls: ${seats || room.seats}`, size: calls, place: "ram" },
    { name: "other", label: "Other programs", size: room.ram_other, place: "ram" },
    { name: "other", label: "Other programs", size: room.vram_other, place: "vram" },
  );
  const places: [Place, number][] = [["vram", room.vram_total], ["ram", room.ram_total]];
  return places
    .filter(([, total]) => total > 0)
    .map(([place, total]) => {
      const here = parts.filter((part) => part.place === place && part.size > 0);
      return { place, total, parts: here, free: total - here.reduce((sum, part) => sum + part.size, 0) };
    })
    .filter((bar) => bar.parts.some((part) => part.name !== "other"));
}

function sized(part: Part, room: Room, tokens: number, seats: number): number {
  if (!room.line || !part.name.startsWith("llm_")) return part.size;
  const now = llmNeed(room.line, room.conversations, room.context_tokens);
  // One conversation is kept for each seat, whatever else is kept besides.
  const kept = room.conversations + (seats || room.seats) - room.seats;
  const then = llmNeed(room.line, kept, tokens);
  if (part.name === "llm_kv") return part.size - now.kv + then.kv;
  return part.name === "llm_work" ? part.size - now.work + then.work : part.size;
}

/** Whether a bar's parts fit, in a sentence. */
export function verdict(bar: Bar): { kind: "good" | "warn" | "bad"; words: string } {
  const used = bar.total - bar.free;
  const what = bar.place === "vram" ? "graphics memory" : "memory";
  if (used > bar.total) return { kind: "bad", words: `Does not fit: ${size(-bar.free)} of ${what} are missing.` };
  if (used > bar.total * SAFE_PART) return { kind: "warn", words: `Tight: ${size(bar.free)} of ${what} would be left.` };
  return { kind: "good", words: `Fits: ${size(bar.free)} of ${what} would be left.` };
}

/** A size for people, e.g. `1.4 GiB`. */
export function size(bytes: number): string {
  const mib = bytes / 2 ** 20;
  return mib >= 1024 ? `${(mib / 1024).toFixed(1)} GiB` : `${Math.max(0, Math.round(mib))} MiB`;
}

const SVG = "http://www.w3.org/2000/svg";

/** Draw the bars with their legends in the place of what is there. */
export function draw(place: HTMLElement, found: Bar[]): void {
  place.replaceChildren(...found.map(figure));
}

function figure(bar: Bar): HTMLElement {
  const all = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const said = verdict(bar);
  const name = bar.place === "vram" ? "Graphics memory" : "Memory";
  const badge = document.createElement("span");
  badge.className = `badge ${said.kind}`;
  badge.textContent = said.words;
  caption.append(`${name}, ${size(bar.total)} `, badge);
  all.append(caption, drawing(bar, `${name}: ${said.words}`), legend(bar));
  return all;
}

function drawing(bar: Bar, words: string): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  const whole = Math.max(bar.total, bar.total - bar.free);
  svg.setAttribute("viewBox", "0 0 100 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "bar");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", words);
  let x = 0;
  for (const part of bar.parts) {
    const width = (100 * part.size) / whole;
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("class", `part-${part.name}`);
    rect.setAttribute("x", String(x));
    rect.setAttribute("width", String(width));
    rect.setAttribute("height", "10");
    svg.append(rect);
    x += width;
  }
  return svg;
}

function legend(bar: Bar): HTMLElement {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const part of bar.parts) {
    const item = document.createElement("li");
    const swatch = document.createElementNS(SVG, "svg");
    swatch.setAttribute("class", "swatch");
    swatch.setAttribute("aria-hidden", "true");
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("class", `part-${part.name}`);
    rect.setAttribute("width", "12");
    rect.setAttribute("height", "12");
    swatch.append(rect);
    const label = document.createElement("span");
    label.textContent = part.label;
    const number = document.createElement("span");
    number.className = "number";
    number.textContent = size(part.size);
    item.append(swatch, label, number);
    list.append(item);
  }
  return list;
}
