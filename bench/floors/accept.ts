/** The floor of connect and idle: a WebSocket server that accepts and is silent. */
import { announce } from "./announce.ts";

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, self) {
    return self.upgrade(request) ? undefined : new Response("no WebSocket", { status: 400 });
  },
  websocket: { message() {} },
});
announce(server.port);
