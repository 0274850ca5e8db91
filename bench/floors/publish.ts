/** The floor of fanout: Bun's own publish of each message to everybody. */
import { announce } from "./announce.ts";

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, self) {
    return self.upgrade(request) ? undefined : new Response("no WebSocket", { status: 400 });
  },
  websocket: {
    open(ws) {
      ws.subscribe("all");
      ws.send('{"type":"welcome"}');
    },
    message(_, text) {
      const { content } = JSON.parse(String(text)) as { readonly content: string };
      const message = { msg_id: "m1", content };
      server.publish("all", JSON.stringify({ type: "message", message }));
    },
  },
});
announce(server.port);
