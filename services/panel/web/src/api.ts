/** The box's own API, as far as a call needs it: the owner's, or a guest's at another path. */

import { BoxFull, CallProblem, refusal, UNREACHABLE } from "./problems";

export interface Session {
  session_id: string;
  room_name: string;
  url: string;
  token: string;
  /** Longest length of the call in seconds; null or absent: no limit. */
  max_s?: number | null;
  /** What a guest proves themselves with for the rest of this call. */
  guest?: string;
}

/** What a caller asks for. */
export interface Wish {
  persona?: string;
  caller_name?: string;
  /** A place in the queue whose turn has come. */
  ticket?: string;
}

/** Where a caller who waits for a seat stands. */
export interface Place {
  ticket: string;
  before_you: number;
  your_turn: boolean;
  /** When to ask again, in seconds. */
  poll_s: number;
}

export interface Turn {
  index: number;
  user_text: string | null;
  agent_text: string | null;
  interrupted: boolean;
}

export interface Kept {
  state: string;
  reason: string;
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

type Method = "GET" | "POST" | "PUT" | "DELETE";

const PATIENCE_MS = 15_000;

/** Calls as the owner (`/api/v1/sessions`) or as a guest (a path of theirs, with their secret). */
export class CallApi {
  #secret: string | undefined;

  constructor(
    private readonly base: string,
    private readonly guest: string | undefined,
  ) {
    this.#secret = guest;
  }

  /** Open a session. @throws BoxFull every seat is taken. @throws CallProblem the box is away or refuses. */
  async open(wish: Wish): Promise<Session> {
    this.#secret = this.guest;
    const response = await this.#ask("POST", "", { ...wish, queue: true });
    if (response.status === 503) {
      const body: unknown = await response.json().catch(() => null);
      const problem = refusal(503, body);
      throw problem.code === "box_full" ? new BoxFull(problem, placeOf(body)) : new CallProblem(problem);
    }
    const session = await answer<Session>(response);
    this.#secret = session.guest ?? this.guest;
    return session;
  }

  /** Ask where this ticket stands; asking also keeps the place. @throws CallProblem it is gone, or the box away. */
  async place(ticket: string): Promise<Place> {
    const found = await answer<Partial<Place>>(await this.#ask("POST", `/queue/${encodeURIComponent(ticket)}`, {}));
    return { ...placeFrom(found), ticket };
  }

  /** Give the place in the queue back; also works while the page is being left. */
  async leave(ticket: string): Promise<void> {
    await this.#ask("DELETE", `/queue/${encodeURIComponent(ticket)}`);
  }

  /** The state of a session: active, or how it ended. */
  async state(id: string): Promise<string> {
    return (await answer<{ state: string }>(await this.#ask("GET", `/${id}`))).state;
  }

  /** Say that the call is over. */
  async end(id: string): Promise<void> {
    await answer(await this.#ask("POST", `/${id}/end`, {}));
  }

  /** Ask for an agent once more. */
  async dispatchAgain(id: string): Promise<void> {
    await answer(await this.#ask("POST", `/${id}/dispatch`, {}));
  }

  /** What the box keeps of the call. */
  async transcript(id: string): Promise<Kept> {
    return answer(await this.#ask("GET", `/${id}/transcript`));
  }

  /** Keep what the caller thought of the call. */
  async feedback(id: string, thumb: number | null, note: string): Promise<void> {
    await answer(await this.#ask("POST", `/${id}/feedback`, { thumb, note }));
  }

  #ask(method: Method, path: string, body?: object): Promise<Response> {
    return ask(method, this.base + path, body, this.#secret ? { "X-Earshot-Guest": this.#secret } : {});
  }
}

/** Whether the box can take a call, and which program is not ready. */
export async function readiness(): Promise<Readiness> {
  const response = await ask("GET", "/readyz");
  const body: unknown = await response.json().catch(() => null);
  const programs = (body as Partial<Readiness> | null)?.programs;
  return { ready: response.ok, programs: Array.isArray(programs) ? programs : [] };
}

async function ask(method: Method, path: string, body?: object, more: Record<string, string> = {}): Promise<Response> {
  try {
    return await fetch(path, {
      method,
      headers: { "X-Earshot-Client": "1", ...more, ...(body ? { "Content-Type": "application/json" } : {}) },
      signal: AbortSignal.timeout(PATIENCE_MS),
      cache: "no-store",
      keepalive: method === "DELETE",
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

function placeOf(body: unknown): Place | undefined {
  const queue = (body as { queue?: Partial<Place> } | null)?.queue;
  return typeof queue?.ticket === "string" ? placeFrom(queue) : undefined;
}

function placeFrom(found: Partial<Place>): Place {
  return {
    ticket: found.ticket ?? "",
    before_you: found.before_you ?? 0,
    your_turn: found.your_turn ?? false,
    poll_s: found.poll_s ?? 2,
  };
}
