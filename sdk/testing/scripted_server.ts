/**
 * A server on real sockets that does the least a Chatify gateway does: welcomes, accepts, numbers,
 * delivers to whoever is connected, keeps what was not acked and replays it. In memory, one device
 * per user; for tests of the SDK and the page only.
 */
import type { Server, ServerWebSocket } from "bun";
import type { ClientFrame, SendFrame, ServerFrame } from "../../src/core/protocol/frames.ts";
import { ClientFrame as ClientFrameSchema } from "../../src/core/protocol/frames.ts";
import { conversationId, type Message } from "../../src/core/protocol/message.ts";

interface Session {
  readonly user: string;
  readonly device: string;
}
type Socket = ServerWebSocket<Session>;

export class ScriptedServer {
  /** Every frame of every client, in order of arrival. */
  readonly frames: { user: string; frame: ClientFrame }[] = [];
  /** Looks at each frame first; true: it has dealt with it. */
  intercept: ((socket: Socket, frame: ClientFrame) => boolean) | undefined;
  /** Frames to clients that never leave. */
  loses: ((user: string, frame: ServerFrame) => boolean) | undefined;
  /** While true every handshake is answered 503. */
  refusing = false;
  readonly #server: Server<Session>;
  readonly #sockets = new Map<string, Socket>();
  readonly #unacked = new Map<string, Map<string, Message>>();
  readonly #watchers = new Map<string, Set<string>>();
  readonly #seqs = new Map<string, number>();
  readonly #known = new Map<string, ServerFrame>();

  constructor(options: { routes?: Record<string, Bun.HTMLBundle>; port?: number } = {}) {
    this.#server = Bun.serve<Session>({
      port: options.port ?? 0,
      hostname: "127.0.0.1",
      routes: options.routes ?? {},
      fetch: (request, server) => this.#fetch(request, server),
      websocket: {
        open: (socket) => this.#open(socket),
        message: (socket, data) => {
          const value: unknown = JSON.parse(String(data));
          const frames: unknown[] = Array.isArray(value) ? value : [value];
          for (const frame of frames) this.#handle(socket, ClientFrameSchema.parse(frame));
        },
        close: (socket) => {
          const { user } = socket.data;
          if (this.#sockets.get(user) === socket) this.#sockets.delete(user);
          this.#tellPresence(user);
        },
      },
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  say(user: string, ...frames: ServerFrame[]): void {
    const kept = frames.filter((frame) => this.loses?.(user, frame) !== true);
    if (kept.length > 0) this.#sockets.get(user)?.send(JSON.stringify(kept));
  }

  disconnect(user: string, code: number): void {
    this.#sockets.get(user)?.close(code);
  }

  stop(): Promise<void> {
    return this.#server.stop(true);
  }

  #fetch(request: Request, server: Server<Session>): Response | undefined {
    const url = new URL(request.url);
    if (url.pathname === "/chatify/dev/token") {
      return Response.json({ token: url.searchParams.get("user_id") });
    }
    if (this.refusing) return new Response("overloaded", { status: 503 });
    const [, user] = (request.headers.get("sec-websocket-protocol") ?? "").split(/,\s*/);
    if (user === undefined) return new Response("unauthorized", { status: 401 });
    const data = { user, device: url.searchParams.get("device_id") ?? "" };
    const headers = { "Sec-WebSocket-Protocol": "chatify.v1" };
    if (server.upgrade(request, { data, headers })) return undefined;
    return new Response("not a WebSocket", { status: 400 });
  }

  #open(socket: Socket): void {
    const { user, device } = socket.data;
    this.#sockets.set(user, socket);
    this.say(user, welcome(user, device));
    const replay = [...(this.#unacked.get(user)?.values() ?? [])];
    this.say(user, ...replay.map((message): ServerFrame => ({ type: "message", message })));
    this.#tellPresence(user);
  }

  #handle(socket: Socket, frame: ClientFrame): void {
    const { user } = socket.data;
    this.frames.push({ user, frame });
    if (this.intercept?.(socket, frame) === true) return;
    if (frame.type === "send") this.say(user, ...this.#route(user, frame));
    else if (frame.type === "ping") this.say(user, { type: "pong", server_time: unixSeconds() });
    else if (frame.type === "ack") {
      for (const id of frame.msg_ids) this.#unacked.get(user)?.delete(id);
    } else if (frame.type === "watch") {
      for (const watched of frame.user_ids) {
        this.#watchers.set(watched, (this.#watchers.get(watched) ?? new Set()).add(user));
        this.say(user, { type: "presence", user_id: watched, online: this.#sockets.has(watched) });
      }
    } else this.say(frame.to_user_id, { ...frame, from_user_id: user });
  }

  /** Numbers a message and delivers it; returns the answers to its sender. */
  #route(from: string, frame: SendFrame): ServerFrame[] {
    const { client_msg_id, to_user_id, target_type } = frame;
    const accepted: ServerFrame = { type: "accepted", client_msg_id };
    const repeated = this.#known.get(`${from}/${client_msg_id}`);
    if (repeated !== undefined) return [accepted, repeated];
    const conversation_id = conversationId(target_type, from, to_user_id);
    const seq = (this.#seqs.get(conversation_id) ?? 0) + 1;
    this.#seqs.set(conversation_id, seq);
    const timestamp = unixSeconds();
    const msg_id = `m${this.#known.size + 1}`;
    const common = { client_msg_id, msg_id, conversation_id, seq, timestamp };
    const sent: ServerFrame = { type: "sent", ...common };
    this.#known.set(`${from}/${client_msg_id}`, sent);
    const { message_type, content, expire_time } = frame;
    const address = { from_user_id: from, target_type, to_user_id, content_id: "" };
    const message: Message = { ...common, ...address, message_type, content, expire_time };
    const waiting = this.#unacked.get(to_user_id) ?? new Map<string, Message>();
    this.#unacked.set(to_user_id, waiting.set(msg_id, message));
    this.say(to_user_id, { type: "message", message });
    return [accepted, sent];
  }

  #tellPresence(user: string): void {
    for (const watcher of this.#watchers.get(user) ?? []) {
      this.say(watcher, { type: "presence", user_id: user, online: this.#sockets.has(user) });
    }
  }
}

function unixSeconds(): number {
  return Math.floor(Date.now() / 1_000);
}

function welcome(user_id: string, device_id: string): ServerFrame {
  return {
    type: "welcome",
    user_id,
    device_id,
    connection_id: "scripted-1",
    epoch: 1,
    server_time: unixSeconds(),
    heartbeat_ms: 30_000,
    limits: {
      frame_bytes_max: 1_048_576,
      content_chars_max: 65_536,
      frames_per_message_max: 256,
      messages_per_second: 200,
      unacked_max: 512,
    },
  };
}
