/** Sending own model files: which part each is, what it is called, how far it has come. */

import { AWAY, type Said, saidBy } from "../panel/notices";

export type Part = "gguf" | "onnx" | "onnx.json";

const ENDS: [string, Part][] = [[".onnx.json", "onnx.json"], [".onnx", "onnx"], [".gguf", "gguf"]];

/** Which part of a model a file is, by its name. */
export function partOf(name: string): Part | undefined {
  return ENDS.find(([end]) => name.toLowerCase().endsWith(end))?.[1];
}

/** A name for the model, from its file's. */
export function nameOf(file: string): string {
  const end = ENDS.find(([one]) => file.toLowerCase().endsWith(one))?.[0] ?? "";
  return file
    .slice(0, file.length - end.length)
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 100);
}

/** What is wrong with a choice of files; undefined: nothing. */
export function mistake(names: string[]): string | undefined {
  const parts = names.map(partOf);
  const other = names[parts.indexOf(undefined)];
  if (other !== undefined) return `${other} is neither .gguf nor .onnx nor .onnx.json.`;
  const sorted = [...parts].sort().join(" ");
  if (sorted === "gguf" || sorted === "onnx onnx.json") return undefined;
  return "Choose one .gguf file, or a voice's .onnx and .onnx.json together.";
}

/** Each request has a minute; on a slow network a piece of this size still comes through. */
const PIECE = 16 * 2 ** 20;

/** Sends one file in pieces, and can be stopped. */
export class Sending {
  #request: XMLHttpRequest | undefined;
  #stopped = false;

  /** Stop now; the box throws away what it has when something else is sent or at its next start. */
  stop(): void {
    this.#stopped = true;
    this.#request?.abort();
  }

  /** Send the whole file. @throws Said what the box said, or that it is away. */
  async send(path: string, file: File, progress: (done: number) => void): Promise<void> {
    let at = 0;
    do {
      const piece = file.slice(at, at + PIECE);
      await this.#put(`${path}?at=${at}&total=${Math.max(1, file.size)}`, piece, (done) => progress(at + done));
      at += piece.size;
    } while (at < file.size);
  }

  #put(path: string, piece: Blob, progress: (done: number) => void): Promise<void> {
    return new Promise((resolve, reject: (said: Said) => void) => {
      const stopped = { message: "Stopped." };
      if (this.#stopped) return reject(stopped);
      const request = new XMLHttpRequest();
      this.#request = request;
      request.open("PUT", path);
      request.setRequestHeader("X-Earshot-Client", "1");
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.addEventListener("progress", (event) => progress(event.loaded));
      request.addEventListener("load", () =>
        request.status < 300 ? resolve() : reject(saidBy(request.status, request.responseText)),
      );
      request.addEventListener("error", () => reject(AWAY));
      request.addEventListener("abort", () => reject(stopped));
      request.send(piece);
    });
  }
}
