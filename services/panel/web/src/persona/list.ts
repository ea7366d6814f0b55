/** The list of personas: a new one, a clone, an import, a deletion. */

import { askJson, Failure } from "../panel/ask";
import { confirmed } from "../panel/dialogs";
import { notice } from "../panel/notices";

interface Kept {
  name: string;
}

/** Let the list's buttons and dialogs work. */
export function installList(): void {
  dialogForm("new-form", (fields) =>
    askJson<Kept>("POST", `/api/v1/personas/${String(fields.get("from"))}/clone`, { name: String(fields.get("name")) }),
  );
  dialogForm("bring-form", async (fields) => {
    const name = String(fields.get("name") ?? "").trim();
    return askJson<Kept>("POST", "/api/v1/personas/import", {
      yaml: await (fields.get("file") as File).text(),
      ...(name ? { name } : {}),
      replace: fields.has("replace"),
    });
  });
  document.addEventListener("click", (event) => {
    const target = event.target as Element;
    const clone = target.closest<HTMLElement>("[data-clone]");
    if (clone) begin(clone.dataset["clone"] ?? "");
    const removes = target.closest<HTMLElement>("[data-removes]");
    if (removes) void remove(removes);
  });
}

function begin(from: string): void {
  const dialog = document.getElementById("new") as HTMLDialogElement;
  (document.getElementById("new-from") as HTMLSelectElement).value = from;
  (document.getElementById("new-name") as HTMLInputElement).value = "";
  dialog.showModal();
}

function dialogForm(id: string, send: (fields: FormData) => Promise<Kept>): void {
  const form = document.getElementById(id) as HTMLFormElement | null;
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    const problem = form.querySelector("[data-problem]") as HTMLElement;
    problem.textContent = "";
    send(new FormData(form))
      .then((kept) => location.assign(`/personas/${kept.name}`))
      .catch((error: unknown) => {
        if (!(error instanceof Failure)) throw error;
        problem.textContent = `${error.said.message} ${error.said.hint ?? ""}`.trim();
      });
  });
}

async function remove(button: HTMLElement): Promise<void> {
  const row = button.closest<HTMLElement>("[data-persona]");
  const name = button.dataset["removes"] ?? "";
  if (!row || !(await confirmed(`Delete the persona ${name}?`, "Delete", button.dataset["more"] ?? ""))) return;
  try {
    const version = encodeURIComponent(row.dataset["version"] ?? "");
    await askJson("DELETE", `/api/v1/personas/${name}?version=${version}`);
    location.reload();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    notice(error.said);
  }
}
