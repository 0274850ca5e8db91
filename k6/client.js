/** A Chatify client for k6: frames in and out, acks every 20 ms, as docs/PROTOCOL.md has it. */
import { WebSocket } from "k6/websockets";

const ACK_MS = 20;

export class Client {
  /**
   * `handlers`: onWelcome(), onMessage(message) for each message the first time it comes,
   * onFrame(frame) for all other frames, onClose(code).
   */
  constructor(url, handlers) {
    this.handlers = handlers;
    this.seen = new Set();
    this.acks = [];
    this.timer = null;
    this.repeated = 0;
    this.socket = new WebSocket(url, "chatify.v1");
    this.socket.onmessage = (event) => this.onText(event.data);
    this.socket.onclose = (event) => {
      if (this.timer !== null) clearTimeout(this.timer);
      if (handlers.onClose) handlers.onClose(event ? event.code : 1006);
    };
    this.socket.onerror = (event) => {
      if (handlers.onError) handlers.onError(event.error);
    };
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  chat(to, content, clientMsgId) {
    this.send({ type: "send", client_msg_id: clientMsgId, to_user_id: to, content });
  }

  /** Says what is still to be confirmed, then goes. */
  close() {
    this.flush();
    this.socket.close();
  }

  onText(text) {
    const parsed = JSON.parse(text);
    for (const frame of Array.isArray(parsed) ? parsed : [parsed]) {
      if (frame.type === "message") this.take(frame.message);
      else if (frame.type === "welcome") this.handlers.onWelcome();
      else if (this.handlers.onFrame) this.handlers.onFrame(frame);
    }
  }

  take(message) {
    this.acks.push(message.msg_id);
    if (this.timer === null) this.timer = setTimeout(() => this.flush(), ACK_MS);
    if (this.seen.has(message.msg_id)) {
      this.repeated++;
      return;
    }
    this.seen.add(message.msg_id);
    if (this.handlers.onMessage) this.handlers.onMessage(message);
  }

  flush() {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (this.acks.length === 0) return;
    this.send({ type: "ack", msg_ids: this.acks });
    this.acks = [];
  }
}
