// Socket.IO doing the work of the chat bench: a room per user, every event through the Redis Streams
// adapter, so that any replica could serve it; the sender gets `sent`, the recipient acks.
// Runs in a directory of its own, where socket.io is installed; see bench/targets/peers.ts.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(new Redis(process.argv[2])),
  connectionStateRecovery: {},
  pingInterval: 300_000,
});
let messages = 0;

io.on("connection", (socket) => {
  const { user } = socket.handshake.auth;
  const unacked = new Set();
  socket.join(user);
  socket.on("send", ({ client_msg_id, to_user_id, content }) => {
    messages += 1;
    const msg_id = `m${messages}`;
    io.to(to_user_id).emit("message", { msg_id, content, from_user_id: user });
    socket.emit("sent", { client_msg_id, msg_id });
  });
  socket.on("ack", (ids) => {
    for (const id of ids) unacked.delete(id);
  });
});

http.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ port: http.address().port })}\n`);
});
