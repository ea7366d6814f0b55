/** Dialogs: `[data-opens=id]` opens one, `[data-closes]` closes it, `[data-confirm]` asks first. */

const asked = new WeakSet<Element>();

/** Ask a question. @param action what the button says, e.g. "Delete". @returns whether it was pressed. */
export async function confirmed(question: string, action = "Yes", more = ""): Promise<boolean> {
  const dialog = document.getElementById("confirm") as HTMLDialogElement;
  part("confirm-question").textContent = question;
  part("confirm-more").textContent = more;
  part("confirm-yes").textContent = action;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

function part(id: string): HTMLElement {
  return document.getElementById(id) as HTMLElement;
}

function ask(element: Element): Promise<boolean> {
  return confirmed(
    element.getAttribute("data-confirm") ?? "",
    element.getAttribute("data-confirm-action") ?? "Yes",
    element.getAttribute("data-confirm-more") ?? "",
  );
}

/** Let every dialog of the page be opened, closed and asked. */
export function installDialogs(): void {
  document.addEventListener("click", (event) => {
    const target = event.target as Element;
    const opener = target.closest("[data-opens]");
    if (opener) {
      const dialog = document.getElementById(opener.getAttribute("data-opens") ?? "");
      if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
    }
    if (target.closest("[data-closes]")) target.closest("dialog")?.close();
    // A click on the dialog itself is one beside its content.
    if (target instanceof HTMLDialogElement && event.detail > 0 && beside(target, event)) target.close();
  });
  document.addEventListener("htmx:confirm", (event) => {
    const { elt, issueRequest } = (event as CustomEvent<{ elt: Element; issueRequest: (sure: boolean) => void }>).detail;
    if (!elt.hasAttribute("data-confirm")) return;
    event.preventDefault();
    void ask(elt).then((sure) => sure && issueRequest(true));
  });
  // Forms and links that htmx does not send.
  document.addEventListener("submit", (event) => hold(event, event.target as HTMLFormElement), true);
  document.addEventListener("click", (event) => {
    const link = (event.target as Element).closest("a[data-confirm]");
    if (link) hold(event, link);
  }, true);
}

function hold(event: Event, element: Element): void {
  if (!element.hasAttribute("data-confirm") || sentByHtmx(element) || asked.has(element)) return;
  event.preventDefault();
  event.stopPropagation();
  void ask(element).then((sure) => {
    if (!sure) return;
    asked.add(element);
    if (element instanceof HTMLFormElement) element.requestSubmit((event as SubmitEvent).submitter as HTMLElement | null);
    else (element as HTMLElement).click();
    asked.delete(element);
  });
}

function sentByHtmx(element: Element): boolean {
  return ["get", "post", "put", "patch", "delete"].some((verb) => element.hasAttribute(`hx-${verb}`));
}

function beside(dialog: HTMLDialogElement, event: MouseEvent): boolean {
  const box = dialog.getBoundingClientRect();
  return (
    event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom
  );
}
