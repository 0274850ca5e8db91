/** Sockets without a network: a test plays the server by hand, on a manual clock. */
import type { ClientFrameInput, ServerFrame } from "../../src/core/protocol/frames.ts";
import type { SocketConstructor, SocketLike } from "../options.ts";

export class FakeSocket implements SocketLike {
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;
  /** What the client wrote: frames, message by message. */
  readonly written: ClientFrameInput[][] = [];
  closed = false;
  readonly url: string;
  readonly protocols: string[];

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocols = protocols;
  }

  send(text: string): void {
    const value = JSON.parse(text) as ClientFrameInput | ClientFrameInput[];
    this.written.push(Array.isArray(value) ? value : [value]);
  }

  close(): void {
    this.closed = true;
  }

  get frames(): ClientFrameInput[] {
    return this.written.flat();
  }

  /** The sends among them, by client message id. */
  get sends(): string[] {
    return this.frames.flatMap((frame) => (frame.type === "send" ? [frame.client_msg_id] : []));
  }

  get acks(): string[] {
    return this.frames.flatMap((frame) => (frame.type === "ack" ? frame.msg_ids : []));
  }

  /** Server to client. */
  say(...frames: ServerFrame[]): void {
    this.onmessage?.({ data: JSON.stringify(frames.length === 1 ? frames[0] : frames) });
  }

  welcome(heartbeat_ms = 30_000): void {
    this.say({
      type: "welcome",
      user_id: "alice",
      device_id: "d",
      connection_id: "g-1",
      epoch: 1,
      server_time: 0,
      heartbeat_ms,
      limits: {
        frame_bytes_max: 1_048_576,
        content_chars_max: 65_536,
        frames_per_message_max: 256,
        messages_per_second: 200,
        unacked_max: 512,
      },
    });
  }

  accept(client_msg_id: string): void {
    this.say({ type: "accepted", client_msg_id });
  }

  deliver(client_msg_id: string, seq: number): void {
    const conversation_id = "u:alice:bob";
    this.say({
      type: "sent",
      client_msg_id,
      msg_id: `m${seq}`,
      conversation_id,
      seq,
      timestamp: 1,
    });
  }

  drop(code: number, reason = ""): void {
    this.onclose?.({ code, reason });
  }
}

/** Every socket that a client makes, in order, and the class to hand to it. */
export function fakeNetwork(): { sockets: FakeSocket[]; WebSocket: SocketConstructor } {
  const sockets: FakeSocket[] = [];
  class Recorded extends FakeSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
    }
  }
  return { sockets, WebSocket: Recorded };
}
