// LiveKit's server library against the box's own server: who is in which room.
// node list_rooms.mjs LIVEKIT_URL, with LIVEKIT_API_KEY and LIVEKIT_API_SECRET; prints `told:` and JSON.
import { RoomServiceClient } from "livekit-server-sdk";

const rooms = new RoomServiceClient(process.argv[2], process.env.LIVEKIT_API_KEY, process.env.LIVEKIT_API_SECRET);
const found = {};
for (const room of await rooms.listRooms()) {
  found[room.name] = (await rooms.listParticipants(room.name)).map((person) => person.identity);
}
console.log("told:" + JSON.stringify(found));
