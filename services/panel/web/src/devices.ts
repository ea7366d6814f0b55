/** Which microphone and which speaker: what there is, and what was chosen before. */

export type Kind = "audioinput" | "audiooutput";

export interface Device {
  /** Empty: whatever the system uses. */
  id: string;
  label: string;
}

const NAMES: Record<Kind, string> = { audioinput: "Microphone", audiooutput: "Speaker" };
const KEYS: Record<Kind, string> = { audioinput: "earshot.microphone", audiooutput: "earshot.speaker" };
// Chromium lists the system's own choice again under these.
const ALIASES = new Set(["", "default", "communications"]);

/** The devices of one kind to choose from, the system's own choice first. */
export function choices(found: readonly Pick<MediaDeviceInfo, "deviceId" | "kind" | "label">[], kind: Kind): Device[] {
  const own = found.filter((device) => device.kind === kind && !ALIASES.has(device.deviceId));
  return [
    { id: "", label: "The system's own choice" },
    ...own.map((device, place) => ({ id: device.deviceId, label: device.label || `${NAMES[kind]} ${place + 1}` })),
  ];
}

/** The wanted device if it is plugged in, else the system's own choice. */
export function pick(devices: readonly Device[], wanted: string): string {
  return devices.some((device) => device.id === wanted) ? wanted : "";
}

/** What was chosen on this browser before. */
export function remembered(kind: Kind): string {
  try {
    return localStorage.getItem(KEYS[kind]) ?? "";
  } catch {
    // A browser may forbid it; then the choice lasts as long as the page.
    return "";
  }
}

/** Choose it on the next visit too. */
export function remember(kind: Kind, id: string): void {
  try {
    if (id) localStorage.setItem(KEYS[kind], id);
    else localStorage.removeItem(KEYS[kind]);
  } catch {
    // See above.
  }
}

/** What to ask the browser for, for a call as for the test before it. */
export function constraints(id: string): MediaTrackConstraints {
  return {
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
    // Not exact: one that was unplugged since is no reason to have no microphone.
    ...(id ? { deviceId: { ideal: id } } : {}),
  };
}

/** Whether this browser can be told which speaker to use. */
export function canChooseSpeaker(): boolean {
  return typeof HTMLMediaElement !== "undefined" && "setSinkId" in HTMLMediaElement.prototype;
}

/** Play this element's sound there; where it cannot, the system's own speaker plays it. */
export async function playOn(sound: HTMLMediaElement, id: string): Promise<void> {
  if (canChooseSpeaker()) await sound.setSinkId(id).catch(() => undefined);
}
