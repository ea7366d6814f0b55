/** Times in the reader's own zone, and durations as people say them. */

const FORMATS: Record<string, Intl.DateTimeFormatOptions> = {
  full: { dateStyle: "medium", timeStyle: "medium" },
  short: { dateStyle: "medium", timeStyle: "short" },
  date: { dateStyle: "medium" },
  clock: { timeStyle: "medium" },
};

/** Write every `<time datetime>` below `root` in local time; `data-format`: full, short, date, clock. */
export function showTimes(root: ParentNode = document): void {
  for (const element of root.querySelectorAll<HTMLTimeElement>("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    element.textContent = at.toLocaleString(undefined, FORMATS[element.dataset["format"] ?? "short"] ?? FORMATS["short"]);
    element.title = at.toLocaleString(undefined, FORMATS["full"]);
  }
}

/** 42 s, 3 min, 5 h, 2 d. @param seconds a duration. */
export function span(seconds: number): string {
  const units: [number, string][] = [[86_400, "d"], [3_600, "h"], [60, "min"]];
  for (const [size, unit] of units) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.max(0, Math.floor(seconds))} s`;
}

/** 4:07 or 1:02:33. @param seconds a duration. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3_600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** 812 MB, 2.4 GB. @param bytes a size, in decimal units as discs are sold. */
export function size(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(bytes >= 1e11 ? 0 : 1)} GB`;
  return `${Math.round(bytes / 1e6)} MB`;
}
