/** Times in the reader's own zone. */

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
