/** Buttons that copy: `[data-copies]` holds the text itself, or "#id" of the element that does. */

import { notice } from "./notices";

const SHOWN_MS = 1_500;

/** Let every copy button of the page work. */
export function installCopying(): void {
  document.addEventListener("click", (event) => {
    const button = (event.target as Element).closest<HTMLElement>("[data-copies]");
    if (button) void copy(button);
  });
}

async function copy(button: HTMLElement): Promise<void> {
  const named = button.dataset["copies"] ?? "";
  const source = named.startsWith("#") ? document.getElementById(named.slice(1)) : null;
  const text = source instanceof HTMLInputElement ? source.value : (source?.textContent ?? named).trim();
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers copy only on secure pages: leave the text selected for Ctrl-C.
    if (source instanceof HTMLInputElement) source.select();
    else if (source) getSelection()?.selectAllChildren(source);
    notice({ message: "This browser does not let the page copy.", hint: "Select the text and press Ctrl-C." }, "warn");
    return;
  }
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = label), SHOWN_MS);
}
