/** Reading the lines in which WebRTC names addresses. */

import type { Protocol } from "./findings";

/** Whether this candidate line is of the protocol; an empty one ends a list and always passes. */
export function speaks(candidate: string, protocol: Protocol): boolean {
  const text = candidate.replace(/^a=/, "").trim();
  return text === "" || text.split(/\s+/)[2]?.toLowerCase() === protocol;
}

/** `192.0.2.2:7882` of a candidate line. */
export function addressOf(candidate: string): string {
  const parts = candidate.replace(/^a=/, "").trim().split(/\s+/);
  const host = parts[4] ?? "";
  return `${host.includes(":") ? `[${host}]` : host}:${parts[5] ?? ""}`;
}

/** A description without the other protocol's candidates. */
export function only(sdp: string, protocol: Protocol): string {
  return sdp
    .split("\r\n")
    .filter((line) => !line.startsWith("a=candidate:") || speaks(line, protocol))
    .join("\r\n");
}
