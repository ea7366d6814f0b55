/** The box's own API, as far as the page needs it. */

import { CallProblem, refusal, UNREACHABLE } from "./problems";

export interface Session {
  session_id: string;
  room_name: string;
  url: string;
  token: string;
}

export interface Turn {
  index: number;
  user_text: string | null;
  agent_text: string | null;
  interrupted: boolean;
}

export interface Kept {
  state: string;
  keep_transcript: boolean;
  turns: Turn[];
}

export interface Program {
  name: string;
  state: string;
  ready: boolean;
  why: string;
}

export interface Readiness {
  ready: boolean;
  programs: Program[];
}

const PATIENCE_MS = 15_000;

async function ask(method: "GET" | "POST", path: string, body?: object): Promise<Response> {
  try {
    return await fetch(path, {
      method,
      headers: { "X-Earshot-Client": "1", ...(body ? { "Content-Type": "application/json" } : {}) },
      signal: AbortSignal.timeout(PATIENCE_MS),
      cache: "no-store",
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
  } catch {
    throw new CallProblem(UNREACHABLE);
  }
}

async function answer<T>(response: Response): Promise<T> {
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) throw new CallProblem(refusal(response.status, body));
  return body as T;
}

/** Open a session. @throws CallProblem the box is away, not ready, full or refuses. */
export async function openSession(): Promise<Session> {
  return answer(await ask("POST", "/api/v1/sessions", {}));
}

/** The state of a session: active, or how it ended. */
export async function sessionState(id: string): Promise<string> {
  return (await answer<{ state: string }>(await ask("GET", `/api/v1/sessions/${id}`))).state;
}

/** Say that the call is over. */
export async function endSession(id: string): Promise<void> {
  await answer(await ask("POST", `/api/v1/sessions/${id}/end`, {}));
}

/** Ask for an agent once more. */
export async function dispatchAgain(id: string): Promise<void> {
  await answer(await ask("POST", `/api/v1/sessions/${id}/dispatch`, {}));
}

/** What the box keeps of the call. */
export async function fetchTranscript(id: string): Promise<Kept> {
  return answer(await ask("GET", `/api/v1/sessions/${id}/transcript`));
}

/** Whether the box can take a call, and which program is not ready. */
export async function readiness(): Promise<Readiness> {
  const response = await ask("GET", "/readyz");
  const body: unknown = await response.json().catch(() => null);
  const programs = (body as Partial<Readiness> | null)?.programs;
  return { ready: response.ok, programs: Array.isArray(programs) ? programs : [] };
}
