/** What the caller sees of a call: one phase at a time, and the words for it. */

export type Phase =
  | "ready"
  | "asking"
  | "queued"
  | "connecting"
  | "waiting"
  | "listening"
  | "thinking"
  | "speaking"
  | "reconnecting"
  | "ended";

/** off: this call is held in writing. */
export type Microphone = "on" | "muted" | "missing" | "off";

export interface Words {
  title: string;
  detail: string;
}

/** The phase that the agent's `lk.agent.state` stands for; undefined: no agent is there. */
export function phaseOfAgent(state: string | undefined): Phase {
  switch (state) {
    case "listening":
    case "thinking":
    case "speaking":
      return state;
    case "idle":
      return "listening";
    default:
      return "waiting";
  }
}

/** Whether a call is under way in this phase. */
export function inCall(phase: Phase): boolean {
  return phase !== "ready" && phase !== "ended";
}

/** What to show in this phase; `name` is who answers. */
export function words(phase: Phase, microphone: Microphone, name: string): Words {
  const heard = microphone === "on";
  switch (phase) {
    case "ready":
      return {
        title: `Talk with ${name}`,
        detail:
          microphone === "off"
            ? "This call is held in writing; the answers are spoken too."
            : "Press the button and speak, as you would to a person.",
      };
    case "asking":
      return { title: "May we listen?", detail: "Your browser asks for the microphone. Allow it to speak." };
    case "queued":
      return { title: "All seats are taken", detail: "You are let in by yourself." };
    case "connecting":
      return { title: "Connecting", detail: "This takes a moment." };
    case "waiting":
      return { title: `Waiting for ${name}`, detail: heard ? "You can speak already; it will be heard." : "It will be there in a moment." };
    case "listening":
      return listening(microphone, name);
    case "thinking":
      return { title: "Thinking", detail: `${name} is about to answer.` };
    case "speaking":
      return { title: "Speaking", detail: heard ? "Just speak to interrupt." : "" };
    case "reconnecting":
      return { title: "Reconnecting", detail: "One moment, the talk goes on by itself." };
    case "ended":
      return { title: "The call has ended", detail: "" };
  }
}

function listening(microphone: Microphone, name: string): Words {
  switch (microphone) {
    case "on":
      return { title: "Listening", detail: `Say something to ${name}.` };
    case "muted":
      return { title: "Muted", detail: `${name} cannot hear you. Typing still works.` };
    case "missing":
      return { title: "Reading", detail: `There is no microphone. Type to ${name} below.` };
    case "off":
      return { title: "Reading", detail: `Type to ${name} below.` };
  }
}

/** A length of time for people: "45 s", "2 min 5 s". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** A time on a clock: "0:07", "12:40". */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
