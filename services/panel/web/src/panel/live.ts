/** What the box tells its pages as it happens; the page says so when it cannot be heard. */

const AGAIN_MS = 2_000;
const SILENCE_SAID_AFTER_MS = 4_000;

type Handlers = Record<string, (data: never) => void>;

/**
 * Listen to topics until the page is left; the connection is made anew whenever it breaks.
 * @param handlers one per topic, given the event's data.
 * @param back called when the box is heard again after a break: what was missed is not repeated.
 */
export function listen(handlers: Handlers, back?: () => void): void {
  const address = `/api/v1/events?topics=${encodeURIComponent(Object.keys(handlers).join(","))}`;
  let source: EventSource | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  let silent: ReturnType<typeof setTimeout> | undefined;
  let lost = false;

  function open(): void {
    again = undefined;
    source?.close();
    source = new EventSource(address);
    source.addEventListener("open", () => {
      clearTimeout(silent);
      silent = undefined;
      say("");
      if (lost) back?.();
      lost = false;
    });
    source.addEventListener("error", () => {
      silent ??= setTimeout(() => {
        lost = true;
        say("Not live: the box cannot be reached. This page tries again by itself.");
      }, SILENCE_SAID_AFTER_MS);
      // The browser gives up where the answer was an error, such as the front door's 503.
      if (source?.readyState === EventSource.CLOSED) {
        again ??= setTimeout(open, AGAIN_MS);
        void leaveIfSignedOut();
      }
    });
    for (const [topic, handle] of Object.entries(handlers)) {
      source.addEventListener(topic, (event) => handle(JSON.parse((event as MessageEvent<string>).data) as never));
    }
  }

  open();
  addEventListener("pagehide", () => {
    clearTimeout(again);
    clearTimeout(silent);
    source?.close();
  });
  addEventListener("pageshow", (event) => event.persisted && open());
}

/** The page's own address leads elsewhere once nobody is signed in. */
async function leaveIfSignedOut(): Promise<void> {
  const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" }).catch(() => undefined);
  if (answer?.type === "opaqueredirect") location.reload();
}

function say(words: string): void {
  const place = document.getElementById("live");
  if (!place) return;
  place.textContent = words;
  place.hidden = words === "";
}
