/** The events of a segment, in the order in which they happened on its node. */
import type { RefusingRole, StoredReason } from "./contract.ts";
import { EVENT_KINDS, type EventKind, type LedgerEvent } from "./event.ts";
import { SEGMENT_VERSION, type SegmentHeader } from "./segment_writer.ts";

/** Throws when `body` is no segment, or one of a later version. */
export function readSegment(node: string, body: Uint8Array): LedgerEvent[] {
  const rows = new Rows(Bun.zstdDecompressSync(body), node);
  const events: LedgerEvent[] = [];
  while (rows.more()) events.push(rows.next());
  return events;
}

class Rows {
  private readonly bytes: DataView;
  private readonly header: SegmentHeader;
  private at: number;

  constructor(
    whole: Uint8Array,
    private readonly self: string,
  ) {
    this.bytes = new DataView(whole.buffer, whole.byteOffset, whole.byteLength);
    const length = this.bytes.getUint32(0, true);
    this.header = JSON.parse(new TextDecoder().decode(whole.subarray(4, 4 + length)));
    if (this.header.v !== SEGMENT_VERSION) {
      throw new Error(`a ledger segment of version ${this.header.v}; this program reads 1`);
    }
    this.at = 4 + length;
  }

  more(): boolean {
    return this.at < this.bytes.byteLength;
  }

  next(): LedgerEvent {
    const kind = EVENT_KINDS[this.byte() - 1];
    if (kind === undefined) throw new Error("a ledger segment with an event of no known kind");
    const step = { at: this.time(), node: this.self };
    return this.fields(kind, step);
  }

  private fields(kind: EventKind, step: { at: number; node: string }): LedgerEvent {
    switch (kind) {
      case "numbered":
        return {
          kind,
          ...step,
          msgId: this.text(),
          user: this.text(),
          clientMsgId: this.text(),
          device: this.text(),
          to: this.text(),
          messageType: this.text(),
          target: this.byte() === 1 ? "GROUP" : "USER",
          seq: this.number(),
          recipients: this.number(),
          expireTime: this.number(),
          receivedAt: this.time(),
          gateway: this.node(),
          access: this.node(),
        };
      case "repeated": {
        const msgId = this.text();
        return { kind, ...step, msgId, ...this.sender() };
      }
      case "rejected": {
        const sender = this.sender();
        const role = this.text() as RefusingRole;
        return { kind, ...step, msgId: "", ...sender, role, code: this.text() };
      }
      case "pushed": {
        const [msgId, user, to] = [this.text(), this.text(), this.text()];
        return {
          kind,
          ...step,
          msgId,
          user,
          to,
          contentId: this.text(),
          expireTime: this.number(),
        };
      }
      default:
        return this.delivery(kind, step, this.text());
    }
  }

  private delivery(
    kind: Exclude<EventKind, "numbered" | "repeated" | "rejected" | "pushed">,
    step: { at: number; node: string },
    msgId: string,
  ): LedgerEvent {
    switch (kind) {
      case "written":
      case "replayed": {
        const [user, device] = [this.text(), this.text()];
        return { kind, ...step, msgId, user, device, gateway: this.node(), conn: this.number() };
      }
      case "acked":
        return { kind, ...step, msgId, user: this.text(), device: this.text() };
      case "stored":
        return { kind, ...step, msgId, user: this.text(), reason: this.text() as StoredReason };
      case "expired": {
        const user = this.text();
        return { kind, ...step, msgId, user, stage: this.text() === "push" ? "push" : "offline" };
      }
      case "confirmed":
        return { kind, ...step, msgId, user: this.text() };
      case "dead_lettered":
        return { kind, ...step, msgId, user: "", topic: this.text(), reason: this.text() };
      case "notified": {
        const [user, channel] = [this.text(), this.text()];
        return { kind, ...step, msgId, user, channel, outcome: this.text() };
      }
    }
  }

  private sender(): { user: string; clientMsgId: string; device: string } {
    return { user: this.text(), clientMsgId: this.text(), device: this.text() };
  }

  private byte(): number {
    return this.bytes.getUint8(this.at++);
  }

  private number(): number {
    this.at += 4;
    return this.bytes.getUint32(this.at - 4, true);
  }

  private time(): number {
    this.at += 4;
    return this.header.base + this.bytes.getInt32(this.at - 4, true);
  }

  private node(): string {
    return this.header.nodes[this.byte() - 1] ?? "";
  }

  private text(): string {
    let left = this.byte();
    let text = "";
    for (; left > 0; left--) text += String.fromCharCode(this.unit());
    return text;
  }

  private unit(): number {
    const first = this.byte();
    if (first < 0x80) return first;
    const second = this.byte() & 0x3f;
    if (first < 0xe0) return ((first & 0x1f) << 6) | second;
    return ((first & 0x0f) << 12) | (second << 6) | (this.byte() & 0x3f);
  }
}
