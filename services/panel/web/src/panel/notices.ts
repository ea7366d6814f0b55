/** Notices at the top of the page: what happened and what to do. */

export interface Said {
  message: string;
  hint?: string;
}

const MOST_SHOWN = 4;
const GOOD_NEWS_MS = 8_000;

/** Show a notice; the same words are never shown twice at a time. Texts are never HTML. */
export function notice(said: Said, kind: "good" | "warn" | "bad" = "bad"): void {
  const place = document.getElementById("notices");
  if (!place) return;
  const words = `${said.message} ${said.hint ?? ""}`.trim();
  if ([...place.children].some((child) => child.getAttribute("data-words") === words)) return;
  const box = document.createElement("p");
  box.className = kind === "warn" ? "notice" : `notice ${kind}`;
  box.dataset["words"] = words;
  const strong = document.createElement("strong");
  strong.textContent = said.message;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "close";
  close.ariaLabel = "Close";
  close.textContent = "×";
  close.addEventListener("click", () => box.remove());
  box.append(strong, said.hint ? ` ${said.hint}` : "", close);
  place.append(box);
  while (place.children.length > MOST_SHOWN) place.firstElementChild?.remove();
  if (kind === "good") setTimeout(() => box.remove(), GOOD_NEWS_MS);
}

/** Take all notices away. */
export function clearNotices(): void {
  document.getElementById("notices")?.replaceChildren();
}

/** What an answer of the box says went wrong, from its JSON; a plain sentence if it has none. */
export function saidBy(status: number, body: string): Said {
  try {
    const error = (JSON.parse(body) as { error?: { message?: unknown; hint?: unknown } }).error;
    if (typeof error?.message === "string") {
      return { message: error.message, hint: typeof error.hint === "string" ? error.hint : "" };
    }
  } catch {
    // Not JSON: the front door's own page while the panel starts.
  }
  return status >= 500
    ? { message: "The box could not do that.", hint: "Try again in a few seconds; the page Doctor may say more." }
    : { message: "That was refused.", hint: "Reload the page and try again." };
}

export const AWAY: Said = {
  message: "The box does not answer.",
  hint: "Check that it is running and that you are on its network, then try again.",
};
