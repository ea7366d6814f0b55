/** What can go wrong, as a sentence and what to do. */

import type { Place } from "./api";

export interface Problem {
  code: string;
  message: string;
  hint: string;
}

/** A failure that people are told about. */
export class CallProblem extends Error {
  constructor(readonly problem: Problem) {
    super(problem.message);
  }
}

/** Every seat is taken. */
export class BoxFull extends CallProblem {
  /** @param place where the caller may wait; undefined: the box keeps no queue for them. */
  constructor(
    problem: Problem,
    readonly place: Place | undefined,
  ) {
    super(problem);
  }
}

export const INSECURE: Problem = {
  code: "not_secure",
  message: "Browsers give the microphone only to secure pages, and this address is not one.",
  hint: "Open http://localhost:8080 on the box itself, or its https address. You can still type.",
};

export const UNREACHABLE: Problem = {
  code: "box_unreachable",
  message: "The box does not answer.",
  hint: "Check that it is running (scripts/appliance status) and press the button again.",
};

export const NOT_CONNECTED: Problem = {
  code: "not_connected",
  message: "The call could not be connected.",
  hint: "Press the button again. If it stays so, a firewall may block UDP 7882 and TCP 7881.",
};

export const LOST: Problem = {
  code: "connection_lost",
  message: "The connection was lost and did not come back.",
  hint: "What was said is kept. Check that the box is running, then talk again.",
};

export const ELSEWHERE: Problem = {
  code: "opened_elsewhere",
  message: "The call was taken over by another window.",
  hint: "Go on there, or talk again here.",
};

export const AGENT_LATE: Problem = {
  code: "agent_late",
  message: "The assistant has not come yet.",
  hint: "It is being called a second time.",
};

export const AGENT_ABSENT: Problem = {
  code: "agent_absent",
  message: "The assistant did not come.",
  hint: "End the call and try again. scripts/appliance status says which program is at fault.",
};

export const SOUND_BLOCKED: Problem = {
  code: "sound_blocked",
  message: "Your browser holds the sound back.",
  hint: "Press anywhere on the page to hear the assistant.",
};

export const NOT_SENT: Problem = {
  code: "not_sent",
  message: "Your message has not gone out yet.",
  hint: "It is sent as soon as the line is back.",
};

/** The call goes on with another microphone than before. */
export function replacedMicrophone(label: string): Problem {
  return {
    code: "microphone_replaced",
    message: "Your microphone was unplugged.",
    hint: label ? `The call goes on through ${label}.` : "The call goes on through another one.",
  };
}

/** Reasons that a call carries which somebody else ended, and what they are for the caller. */
const ENDED_BY_OWNER: Record<string, string> = {
  "the owner ended the call": "The owner of the box ended the call.",
  "the owner took the link back": "The owner of the box took your link back and ended the call.",
};

/** What to say about a call that the box ended in this state for this reason; undefined: nothing. */
export function badEnd(state: string, reason: string): Problem | undefined {
  const byOwner = ENDED_BY_OWNER[reason];
  if (byOwner !== undefined) return { code: "ended_by_owner", message: byOwner, hint: "" };
  switch (state) {
    case "timed_out":
      return {
        code: state,
        message: "The call has reached its longest time.",
        hint: "Talk again to go on.",
      };
    case "failed":
      return {
        code: state,
        message: "The call broke off.",
        hint: "Talk again; scripts/appliance logs agent says why it happened.",
      };
    default:
      return undefined;
  }
}

/** Why the microphone cannot be used, from what getUserMedia threw. */
export function microphoneProblem(error: unknown): Problem {
  const name = error instanceof Error ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return {
        code: "microphone_denied",
        message: "The browser was not allowed to use the microphone.",
        hint: "Allow it beside the page's address, then press Use microphone. You can type meanwhile.",
      };
    case "NotFoundError":
    case "OverconstrainedError":
      return {
        code: "microphone_missing",
        message: "No microphone was found.",
        hint: "Plug one in, then press Use microphone. You can type meanwhile.",
      };
    case "NotReadableError":
    case "AbortError":
      return {
        code: "microphone_busy",
        message: "The microphone is used by another program.",
        hint: "Close that program, then press Use microphone. You can type meanwhile.",
      };
    default:
      return {
        code: "microphone_failed",
        message: "The microphone could not be opened.",
        hint: "Check it in your system's settings, then press Use microphone. You can type meanwhile.",
      };
  }
}

/** What the box answered when it refused, from its `{"error": {code, message, hint}}`. */
export function refusal(status: number, body: unknown): Problem {
  const error = field(body, "error");
  const message = text(field(error, "message"));
  if (message) return { code: text(field(error, "code")), message, hint: text(field(error, "hint")) };
  if (status === 502 || status === 504) return UNREACHABLE;
  return {
    code: `http_${status}`,
    message: `The box refused the call (${status}).`,
    hint: "scripts/appliance logs panel says why.",
  };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
