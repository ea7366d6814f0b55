/** The settings form: what has been changed, back to the default, the review, and a file to import. */

type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

const form = document.querySelector<HTMLFormElement>("#settings");
const count = document.querySelector<HTMLElement>("#count");
let leaving = false;

function controls(): Control[] {
  return form ? [...form.querySelectorAll<Control>(".setting :is(input, select, textarea)[name]")] : [];
}

function changed(control: Control): boolean {
  if (control instanceof HTMLSelectElement) return [...control.options].some((o) => o.selected !== o.defaultSelected);
  if (control instanceof HTMLInputElement && control.type === "checkbox") return control.checked !== control.defaultChecked;
  return control.value !== control.defaultValue;
}

function showChanges(): void {
  const rows = new Set<Element>();
  for (const control of controls()) {
    const row = control.closest(".setting");
    if (!row) continue;
    if (changed(control)) rows.add(row);
    else if (!rows.has(row)) row.removeAttribute("data-changed");
  }
  for (const row of rows) row.setAttribute("data-changed", "");
  if (count) {
    count.textContent =
      rows.size === 0 ? "Nothing changed yet." : rows.size === 1 ? "1 setting changed." : `${rows.size} settings changed.`;
  }
}

function reset(id: string): void {
  const control = document.getElementById(id) as Control | null;
  if (!control) return;
  const wanted = control.getAttribute("data-default") ?? "";
  if (control instanceof HTMLInputElement && control.type === "checkbox") control.checked = wanted !== "";
  else control.value = wanted;
  control.focus();
  showChanges();
}

/** Mark what the box refused, and lead there. @returns whether there was anything. */
function showProblems(): boolean {
  const wrong = controls().filter((control) => {
    const bad = Boolean(document.getElementById(`${control.id}-problem`)?.textContent?.trim());
    if (bad) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
    return bad;
  });
  wrong[0]?.focus();
  return document.querySelector("#review-body [data-problems]") !== null;
}

// A save answers with an address to go to; its edits are not lost.
document.addEventListener("htmx:beforeOnLoad", (event) => {
  const answer = (event as CustomEvent<{ xhr: XMLHttpRequest }>).detail.xhr;
  if (answer.getResponseHeader("HX-Redirect")) leaving = true;
});
addEventListener("beforeunload", (event) => {
  if (!leaving && controls().some(changed)) event.preventDefault();
});
form?.addEventListener("input", showChanges);
form?.addEventListener("reset", () => setTimeout(showChanges));
document.addEventListener("click", (event) => {
  const button = (event.target as Element).closest("[data-resets]");
  if (button) reset(button.getAttribute("data-resets") ?? "");
});
document.addEventListener("htmx:afterSettle", (event) => {
  if ((event.target as Element).id !== "review-body") return;
  const review = document.querySelector<HTMLDialogElement>("#review");
  if (showProblems()) review?.close();
  else if (review && !review.open) review.showModal();
});
document.querySelector<HTMLInputElement>("#import-file")?.addEventListener("change", (event) => {
  const file = (event.target as HTMLInputElement).files?.[0];
  const text = document.querySelector<HTMLTextAreaElement>("#import-text");
  if (file && text) void file.text().then((content) => (text.value = content));
});
showChanges();
