/**
 * The floor of chat: a bare in-memory relay on Bun's WebSocket. It parses each frame, answers the
 * sender, writes the message to the recipient's socket and parses the acks. It checks, stores and
 * promises nothing.
 */
import { announce } from "./announce.ts";

interface Peer {
  readonly user: string;
}

interface Frame {
  readonly type: string;
  readonly client_msg_id?: string;
  readonly to_user_id?: string;
  readonly content?: string;
  readonly msg_ids?: readonly string[];
}

const sockets = new Map<string, Bun.ServerWebSocket<Peer>>();
const unacked = new Map<string, Set<string>>();
let messages = 0;

function relay(from: Bun.ServerWebSocket<Peer>, frame: Frame): void {
  if (frame.type === "ack") {
    const mine = unacked.get(from.data.user);
    for (const id of frame.msg_ids ?? []) mine?.delete(id);
    return;
  }
  messages += 1;
  const msg_id = `m${messages}`;
  const to = frame.to_user_id ?? "";
  const timestamp = Math.floor(Date.now() / 1_000);
  const { client_msg_id, content } = frame;
  from.send(JSON.stringify({ type: "sent", client_msg_id, msg_id, seq: messages, timestamp }));
  unacked.get(to)?.add(msg_id);
  sockets.get(to)?.send(
    JSON.stringify({
      type: "message",
      message: { msg_id, from_user_id: from.data.user, to_user_id: to, content, timestamp },
    }),
  );
}

const server = Bun.serve<Peer>({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, self) {
    const [, claims = ""] = (request.headers.get("authorization") ?? "").split(".");
    const { sub } = JSON.parse(Buffer.from(claims, "base64url").toString()) as { sub: string };
    const upgraded = self.upgrade(request, { data: { user: sub } });
    return upgraded ? undefined : new Response("no WebSocket", { status: 400 });
  },
  websocket: {
    open(ws) {
      sockets.set(ws.data.user, ws);
      unacked.set(ws.data.user, new Set());
      ws.send('{"type":"welcome"}');
    },
    message(ws, text) {
      for (const frame of [JSON.parse(String(text)) as Frame].flat()) relay(ws, frame);
    },
  },
});
announce(server.port);
