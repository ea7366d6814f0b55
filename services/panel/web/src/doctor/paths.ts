/** Tries the way to the media ports over one protocol alone: a real room, with the other's candidates left out. */

import { Room, RoomEvent } from "livekit-client";
import { addressOf, only, speaks } from "./candidates";
import type { PathResult, Protocol } from "./findings";

const PATIENCE_MS = 8_000;

export interface TestRoom {
  room_name: string;
  url: string;
  token: string;
  address: string;
  udp_port: number;
  tcp_port: number;
}

/** Where rooms for tests come from. */
export interface TestRooms {
  open(): Promise<TestRoom>;
  close(test: TestRoom): Promise<void>;
}

export type Tried = PathResult & { test: TestRoom };

interface Record {
  connections: RTCPeerConnection[];
  offered: Set<string>;
}

/** Makes connections that neither hear of nor tell of candidates of the other protocol. */
function forced(Real: typeof RTCPeerConnection, protocol: Protocol, record: Record): typeof RTCPeerConnection {
  const handlers = Object.getOwnPropertyDescriptor(Real.prototype, "onicecandidate");
  function Forced(configuration?: RTCConfiguration): RTCPeerConnection {
    const made = new Real(configuration);
    record.connections.push(made);
    const createOffer = made.createOffer.bind(made);
    const addIceCandidate = made.addIceCandidate.bind(made);
    const setRemoteDescription = made.setRemoteDescription.bind(made);
    // What was found meanwhile, a later offer tells again, and the box would try all of it.
    made.createOffer = (async (options?: RTCOfferOptions) => {
      const offer = await createOffer(options);
      return { type: offer.type, sdp: only(offer.sdp ?? "", protocol) };
    }) as RTCPeerConnection["createOffer"];
    made.addIceCandidate = (async (candidate?: RTCIceCandidateInit | null) => {
      const text = candidate?.candidate ?? "";
      if (!speaks(text, protocol)) return;
      if (text) record.offered.add(addressOf(text));
      await addIceCandidate(candidate ?? undefined);
    }) as RTCPeerConnection["addIceCandidate"];
    made.setRemoteDescription = (async (description: RTCSessionDescriptionInit) => {
      const sdp = only(description.sdp ?? "", protocol);
      for (const line of sdp.split("\r\n")) if (line.startsWith("a=candidate:")) record.offered.add(addressOf(line));
      await setRemoteDescription({ type: description.type, sdp });
    }) as RTCPeerConnection["setRemoteDescription"];
    let given: RTCPeerConnection["onicecandidate"] = null;
    Object.defineProperty(made, "onicecandidate", {
      get: () => given,
      set: (handler: RTCPeerConnection["onicecandidate"]) => {
        given = handler;
        handlers?.set?.call(made, (event: RTCPeerConnectionIceEvent) => {
          if (speaks(event.candidate?.candidate ?? "", protocol)) given?.call(made, event);
        });
      },
    });
    return made;
  }
  Forced.prototype = Real.prototype;
  return Object.setPrototypeOf(Forced, Real) as typeof RTCPeerConnection;
}

/** Join the room over this protocol alone, and leave it again; what does not pass is tried twice. */
export async function tryPath(rooms: TestRooms, protocol: Protocol): Promise<Tried> {
  const first = await tryInRoomOfItsOwn(rooms, protocol);
  // A busy computer may miss the first moment; a firewall does so every time.
  return first.connected || !first.signalled ? first : tryInRoomOfItsOwn(rooms, protocol);
}

/** The media server remembers for a while what failed for whom in a room, and offers that no more. */
async function tryInRoomOfItsOwn(rooms: TestRooms, protocol: Protocol): Promise<Tried> {
  const test = await rooms.open();
  try {
    return { ...(await tryOnce(test, protocol)), test };
  } finally {
    await rooms.close(test);
  }
}

async function tryOnce(test: TestRoom, protocol: Protocol): Promise<PathResult> {
  const Real = window.RTCPeerConnection;
  const record: Record = { connections: [], offered: new Set() };
  const room = new Room({ adaptiveStream: false, dynacast: false });
  const began = performance.now();
  let signalMs: number | undefined;
  room.on(RoomEvent.SignalConnected, () => (signalMs = performance.now() - began));
  window.RTCPeerConnection = forced(Real, protocol, record);
  let connected = false;
  let used: PathResult["used"];
  try {
    await room.connect(test.url, test.token, {
      autoSubscribe: false,
      maxRetries: 0,
      peerConnectionTimeout: PATIENCE_MS,
      websocketTimeout: PATIENCE_MS,
      // An empty list overrides what a server may suggest: no host outside is ever asked.
      rtcConfig: { iceServers: [] },
    });
    connected = true;
    used = await pairOf(record.connections);
  } catch (error) {
    // What failed shows in what was reached: the signalling, or offers, or neither.
    const states = record.connections.map((one) => `${one.connectionState}/${one.iceConnectionState}`).join(" ");
    console.info(`${protocol} alone: ${String(error)} after ${Math.round(performance.now() - began)} ms, ${states}`);
  } finally {
    window.RTCPeerConnection = Real;
    await room.disconnect().catch(() => undefined);
  }
  return { connected, signalled: signalMs !== undefined, offered: [...record.offered], used, signalMs };
}

interface Pair {
  state: string;
  nominated?: boolean;
  remoteCandidateId: string;
  currentRoundTripTime?: number;
}

async function pairOf(connections: RTCPeerConnection[]): Promise<PathResult["used"]> {
  for (const connection of connections) {
    const stats = await connection.getStats();
    const entries = [...(stats as unknown as Map<string, { type: string }>).values()];
    const pairs = entries.filter((entry) => entry.type === "candidate-pair") as unknown as Pair[];
    const pair = pairs.find((one) => one.nominated && one.state === "succeeded") ?? pairs.find((one) => one.state === "succeeded");
    const remote = pair && (stats as unknown as Map<string, { address?: string; ip?: string; port?: number; protocol?: string }>).get(pair.remoteCandidateId);
    if (pair && remote) {
      const ms = pair.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000;
      const host = remote.address ?? remote.ip ?? "the box";
      const address = `${host.includes(":") ? `[${host}]` : host}:${remote.port ?? ""}`;
      return { address, protocol: remote.protocol ?? "", ms };
    }
  }
  return undefined;
}
