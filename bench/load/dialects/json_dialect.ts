/** The dialects that are JSON text over WebSocket: ours (and the floor's), Socket.IO's, Centrifuge's. */
import type { ChatJob } from "../../job.ts";
import type { Link, Outbox } from "../connection.ts";
import { textFrame } from "../frames.ts";
import { connectAll, type Greeting } from "../population.ts";
import { userName } from "../tokens.ts";
import {
  bodyOf,
  type Dialect,
  indexed,
  placesOf,
  type Receiver,
  STAMP_DIGITS,
  type Template,
} from "./dialect.ts";

const HANDSHAKES_AT_ONCE = 50;
const CONTENT = '"content":"';

interface JsonSyntax {
  readonly greeting: Greeting;
  /** What stands before the id of a delivery. */
  readonly delivery: string;
  /** What stands around the fields of a send to a user. */
  readonly send: (to: string) => readonly [before: string, after: string];
  /** Null where the protocol has no acks. */
  readonly ack: readonly [before: string, after: string] | null;
}

class JsonDialect implements Dialect {
  constructor(private readonly syntax: JsonSyntax) {}

  connect(job: ChatJob, outbox: Outbox, receiver: Receiver): Promise<Link[]> {
    const options = { ...job, inFlight: HANDSHAKES_AT_ONCE, greeting: this.syntax.greeting };
    return connectAll(options, outbox, (index) => (data, start, end) => {
      this.read(data.toString("latin1", start, end), index, receiver);
    });
  }

  template(index: number, job: ChatJob): Template {
    const to = userName(index ^ 1);
    const [before, after] = this.syntax.send(to);
    const ids = `"client_msg_id":"${indexed(index)}","to_user_id":"${to}"`;
    const frame = textFrame(`${before}${ids},${CONTENT}${bodyOf(index, job.bodyBytes)}"${after}`);
    return { frame, stampAt: placesOf(frame, index), packetIdAt: null };
  }

  ack(ids: readonly string[]): Buffer | null {
    if (this.syntax.ack === null) return null;
    const [before, after] = this.syntax.ack;
    return textFrame(`${before}["${ids.join('","')}"]${after}`);
  }

  /** Looks only for what it needs: a JSON parser would cost more than the rest of the load. */
  private read(text: string, index: number, receiver: Receiver): void {
    const { delivery } = this.syntax;
    for (let at = text.indexOf(delivery); at >= 0; at = text.indexOf(delivery, at)) {
      const idAt = at + delivery.length;
      const idEnd = text.indexOf('"', idAt);
      at = text.indexOf(CONTENT, idEnd) + CONTENT.length;
      receiver.onMessage(index, text.slice(idAt, idEnd), text.slice(at, at + STAMP_DIGITS));
    }
    receiver.onText(index, text);
  }
}

export const chatify: Dialect = new JsonDialect({
  greeting: { onText: () => true },
  delivery: '"message":{"msg_id":"',
  send: () => ['{"type":"send",', "}"],
  ack: ['{"type":"ack","msg_ids":', "}"],
});

/** Engine.IO 4 and Socket.IO 5: `0` opens, `40` joins, `42` is an event, `2` asks for a `3`. */
export const socketio: Dialect = new JsonDialect({
  greeting: {
    onText: (text, index) =>
      text.startsWith("0") ? `40{"user":"${userName(index)}"}` : text.startsWith("40"),
  },
  delivery: '42["message",{"msg_id":"',
  send: () => ['42["send",{', "}]"],
  ack: ['42["ack",', "]"],
});

/**
 * A user is subscribed to its own channel by the server. There are no acks: a client that comes back
 * names the last offset that it has seen.
 */
export const centrifuge: Dialect = new JsonDialect({
  greeting: {
    first: '{"id":1,"connect":{}}',
    onText: (text) => text.includes('"connect":'),
  },
  delivery: '"pub":{"data":{"client_msg_id":"',
  send: (to) => ['{"id":2,"publish":{"data":{', `},"channel":"${to}"}}`],
  ack: null,
});
