/**
 * MQTT 3.1.1, quality of service 1, persistent sessions: each user subscribes to a topic of its own
 * and writes to its partner's. The sender's answer is the broker's PUBACK; the recipient's acks are
 * PUBACKs, too, as many in one write as came in the same 20 ms.
 */
import type { ChatJob } from "../../job.ts";
import { present } from "../../present.ts";
import type { Link, Outbox } from "../connection.ts";
import { TcpLink } from "../tcp_link.ts";
import { userName } from "../tokens.ts";
import { bodyOf, type Dialect, placesOf, type Receiver, STAMP_DIGITS } from "./dialect.ts";

const CONNECT = 0x10;
const CONNACK = 2;
const PUBLISH_QOS1 = 0x32;
const PUBLISH = 3;
const PUBACK = 0x40;
const SUBSCRIBE = 0x82;
const SUBACK = 9;
/** Session kept, because "clean session" is not set. */
const FLAGS_PERSISTENT = 0;
const KEEP_ALIVE_S = 600;

const topicOf = (index: number) => `u/${userName(index)}`;

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function packet(type: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  let left = body.length;
  do {
    const more = left >> 7;
    length.push((left & 0x7f) | (more > 0 ? 0x80 : 0));
    left = more;
  } while (left > 0);
  return Buffer.concat([Buffer.from([type, ...length]), body]);
}

/** Calls `onPacket` for each whole packet; returns where the rest begins. */
function readPackets(
  data: Buffer,
  onPacket: (type: number, start: number, end: number) => void,
): number {
  let at = 0;
  for (;;) {
    let head = at + 1;
    let length = 0;
    for (let shift = 0; ; shift += 7, head += 1) {
      if (head >= data.length) return at;
      const byte = data[head] ?? 0;
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    head += 1;
    if (head + length > data.length) return at;
    onPacket((data[at] ?? 0) >> 4, head, head + length);
    at = head + length;
  }
}

async function connectOne(job: ChatJob, outbox: Outbox, receiver: Receiver, index: number) {
  const there = Promise.withResolvers<void>();
  const onData = (data: Buffer): number =>
    readPackets(data, (type, start, end) => {
      if (type === CONNACK) link.write(packet(SUBSCRIBE, Buffer.from([0, 1]), subscription));
      else if (type === SUBACK) there.resolve();
      else if (type === PUBLISH) {
        const idAt = start + 2 + data.readUInt16BE(start);
        const stamp = data.toString("latin1", idAt + 2, idAt + 2 + STAMP_DIGITS);
        receiver.onMessage(index, String(data.readUInt16BE(idAt)), stamp);
      }
      if (end === data.length) receiver.onText(index, "");
    });
  const subscription = Buffer.concat([text(topicOf(index)), Buffer.from([1])]);
  const link = new TcpLink(outbox, onData);
  await link.connect(present(job.wsPorts[index % job.wsPorts.length]));
  const options = Buffer.from([4, FLAGS_PERSISTENT, KEEP_ALIVE_S >> 8, KEEP_ALIVE_S & 0xff]);
  link.write(packet(CONNECT, text("MQTT"), options, text(userName(index))));
  await there.promise;
  return link;
}

export const mqtt: Dialect = {
  async connect(job: ChatJob, outbox: Outbox, receiver: Receiver): Promise<Link[]> {
    const links: Link[] = [];
    for (let index = 0; index < job.users; index += 1) {
      links.push(await connectOne(job, outbox, receiver, index));
    }
    return links;
  },

  template(index, job) {
    const topic = text(topicOf(index ^ 1));
    const body = Buffer.from(bodyOf(index, job.bodyBytes));
    const frame = packet(PUBLISH_QOS1, topic, Buffer.from([0, 0]), body);
    return {
      frame,
      stampAt: placesOf(frame, index),
      packetIdAt: frame.length - body.length - 2,
    };
  },

  ack: (ids) =>
    Buffer.concat(
      ids.map((id) => packet(PUBACK, Buffer.from([Number(id) >> 8, Number(id) & 0xff]))),
    ),
};
