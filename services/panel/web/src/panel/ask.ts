/** Requests of the panel's own scripts to the box. */

import { AWAY, type Said, saidBy } from "./notices";

const PATIENCE_MS = 20_000;

/** A refusal or a failure, as people are told about it. */
export class Failure extends Error {
  constructor(
    readonly said: Said,
    readonly status = 0,
    readonly code = "",
  ) {
    super(said.message);
  }
}

/** Ask the JSON API. @throws Failure the box is away, or refuses. */
export async function askJson<T>(method: string, path: string, body?: unknown): Promise<T> {
  const text = await askText(method, path, body);
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** Ask for a text, for instance a fragment of a page. @throws Failure the box is away, or refuses. */
export async function askText(method: string, path: string, body?: unknown): Promise<string> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(path, {
      method,
      headers: {
        "X-Earshot-Client": "1",
        // What a script looks up by itself is no sign that the owner is still there.
        ...(method === "GET" ? { "X-Earshot-Background": "1" } : {}),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      signal: AbortSignal.timeout(PATIENCE_MS),
      cache: "no-store",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    text = await response.text();
  } catch {
    throw new Failure(AWAY);
  }
  if (response.status === 401 || response.redirected) {
    // Nobody is signed in any more: the page itself leads to where one can.
    location.reload();
    throw new Failure({ message: "You are signed out." }, 401);
  }
  if (!response.ok) throw new Failure(saidBy(response.status, text), response.status, codeOf(text));
  return text;
}

function codeOf(text: string): string {
  try {
    return String((JSON.parse(text) as { error?: { code?: string } }).error?.code ?? "");
  } catch {
    return "";
  }
}
