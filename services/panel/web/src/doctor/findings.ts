/** What the browser's tests say: a state, what was seen, and what to do about it. */

export type State = "ok" | "warn" | "fail";

export interface Finding {
  state: State;
  message: string;
  hint: string;
}

export type Protocol = "udp" | "tcp";

/** What came of trying to reach the media server over one protocol alone. */
export interface PathResult {
  /** Whether sound could have passed. */
  connected: boolean;
  /** Whether the media server could be talked to at all. */
  signalled: boolean;
  /** Addresses of this protocol that the box offered, as `192.0.2.2:7882`. */
  offered: string[];
  /** The address that was used, and over what; undefined: none. */
  used: { address: string; protocol: string; ms: number | undefined } | undefined;
  /** How long the websocket of the signalling took to open, in milliseconds. */
  signalMs: number | undefined;
}

const CLOCK_MS = 30_000;
const SLOW_MS = 150;
const VERY_SLOW_MS = 400;

function finding(state: State, message: string, hint = ""): Finding {
  return { state, message, hint };
}

/** Whether the browser gives pages of this address the microphone at all. */
export function secureFinding(secure: boolean, devices: boolean, origin: string): Finding {
  if (!secure) {
    return finding(
      "fail",
      `Browsers give no microphone to ${origin}, because it is not a secure address.`,
      "On the box itself open http://localhost and the port; from elsewhere its https address.",
    );
  }
  if (!devices) {
    return finding("fail", "This browser has no microphones to offer to pages.", "Use a current Chrome, Edge, Firefox or Safari.");
  }
  return finding("ok", `${origin} is a secure address: the microphone may be asked for.`);
}

/** Whether the two clocks agree; tokens and times in records depend on it. @param aheadMs box minus browser. */
export function clockFinding(aheadMs: number): Finding {
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  if (Math.abs(aheadMs) <= CLOCK_MS) return finding("ok", `The box's clock and this one agree within ${Math.max(1, seconds)} s.`);
  return finding(
    "warn",
    `The box's clock is ${length(seconds)} ${aheadMs > 0 ? "ahead of" : "behind"} this one.`,
    "Set the wrong one of the two. Calls work; times on pages and in records are wrong.",
  );
}

/** How long a question to the box takes. */
export function roundTripFinding(ms: readonly number[]): Finding {
  if (ms.length === 0) {
    return finding("fail", "The box does not answer this browser any more.", "Check that it runs and that this machine is on its network.");
  }
  const middle = Math.round([...ms].sort((a, b) => a - b)[Math.floor(ms.length / 2)] ?? 0);
  if (middle > VERY_SLOW_MS) {
    return finding("fail", `An answer from the box takes ${middle} ms.`, "The network between is overloaded or far: use a cable, or another Wi-Fi.");
  }
  if (middle > SLOW_MS) {
    return finding("warn", `An answer from the box takes ${middle} ms; answers in calls come later by as much.`, "Use a cable instead of Wi-Fi, or go nearer to it.");
  }
  return finding("ok", `An answer from the box takes ${middle} ms.`);
}

/** Why there is no microphone, from what getUserMedia threw; one sentence for each cause. */
export function microphoneFinding(error: unknown): Finding {
  switch (error instanceof Error ? error.name : "") {
    case "NotAllowedError":
      return finding(
        "fail",
        "This browser was told not to give its microphone to this page, or the question was closed.",
        "Click the sign beside the address, allow the microphone, then check again.",
      );
    case "SecurityError":
      return finding("fail", "A rule of this browser forbids the microphone here.", "Ask whoever manages this computer.");
    case "NotFoundError":
    case "OverconstrainedError":
      return finding("fail", "This computer has no microphone.", "Plug one in, then check again.");
    case "NotReadableError":
    case "AbortError":
      return finding(
        "fail",
        "Another program holds the microphone, or it does not start.",
        "Close other programs that record, or plug it in again.",
      );
    default:
      return finding("fail", "The microphone could not be opened.", "Check it in the system's sound settings.");
  }
}

/** What the microphone gives while someone speaks. @param loudest 0 to 1, on the scale of meter.ts. */
export function levelFinding(loudest: number, name: string): Finding {
  const which = name ? `“${name}”` : "The microphone";
  if (loudest <= 0.02) {
    return finding(
      "fail",
      `${which} gives no sound at all.`,
      "It may be switched off at its cable, its stand or in the system's sound settings; or another one is chosen.",
    );
  }
  if (loudest < 0.2) {
    return finding("warn", `${which} gives hardly any sound.`, "Speak nearer to it, or raise its level in the system's sound settings.");
  }
  return finding("ok", `${which} hears you.`);
}

/** What came of one path. @param other whether the other protocol passes; undefined: not known yet. */
export function pathFinding(protocol: Protocol, result: PathResult, port: number, other?: boolean): Finding {
  const name = protocol.toUpperCase();
  if (!result.signalled) {
    return finding(
      "fail",
      "The media server could not be reached through the page's own address.",
      "The findings of the box, above, say whether it runs.",
    );
  }
  if (result.connected && result.used) {
    if (result.used.protocol !== protocol) {
      return finding("warn", `${name} alone could not be tried: the browser used ${result.used.protocol.toUpperCase()}.`, "Try another browser to be sure.");
    }
    const took = result.used.ms === undefined ? "" : `, ${Math.round(result.used.ms)} ms there and back`;
    const line = result.signalMs === undefined ? "" : ` The call's line opened in ${Math.round(result.signalMs)} ms.`;
    return finding("ok", `Sound passes over ${name} to ${result.used.address}${took}.${line}`);
  }
  if (result.offered.length === 0) {
    return finding(
      other ? "warn" : "fail",
      `The box offers no address for ${name}.`,
      `Its media server could not open ${name} port ${port}: scripts/appliance logs livekit says why.`,
    );
  }
  const where = result.offered.join(" and ");
  if (other) {
    return protocol === "udp"
      ? finding("warn", `UDP does not get through to ${where}. Calls go over TCP instead, and may stutter.`, `Allow UDP port ${port} in the firewall of the box and of the network.`)
      : finding("warn", `TCP does not get through to ${where}. It is needed only where UDP is blocked.`, `Allow TCP port ${port} in the firewall of the box.`);
  }
  return finding(
    "fail",
    `${name} does not get through to ${where}.`,
    `Is that address on this computer's network? If so, allow ${name} port ${port} in the firewall of the box; if not, set livekit.node_ip to one that is.`,
  );
}

function length(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} minutes`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} hours` : `${Math.round(seconds / 86_400)} days`;
}
